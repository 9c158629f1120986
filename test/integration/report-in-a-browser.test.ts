import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { reportAsHtml } from '../../src/audit/report/report-html.js';
import { dayOfRecords, HOSTILE_NAME } from '../support/day-of-records.js';
import { reportOf } from '../support/report-of.js';

const BROWSER = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => {
  try {
    execFileSync(name, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
});

interface Answer {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly entry?: { readonly text: string } };
  readonly result?: {
    readonly result?: { readonly value: unknown };
    readonly targetId?: string;
    readonly sessionId?: string;
  };
}

/** A page in a browser without a window, asked over its debugging protocol. */
class Page {
  readonly logged: string[] = [];
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #id = 0;
  session: string | undefined;

  constructor(readonly socket: WebSocket) {
    socket.on('message', (data: Buffer) => {
      const answer = JSON.parse(data.toString('utf8')) as Answer;
      if (answer.method === 'Log.entryAdded') this.logged.push(answer.params?.entry?.text ?? '');
      if (answer.id !== undefined) this.#waiting.get(answer.id)?.(answer);
    });
  }

  call(method: string, params: object = {}): Promise<Answer> {
    const id = ++this.#id;
    const session = this.session === undefined ? {} : { sessionId: this.session };
    const answered = new Promise<Answer>((resolve) => this.#waiting.set(id, resolve));
    this.socket.send(JSON.stringify({ id, method, params, ...session }));
    return answered;
  }

  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.call('Runtime.evaluate', { expression, returnByValue: true });
    return result?.result?.value;
  }

  async press(key: string, code: number, text: string): Promise<void> {
    const what = { key, code: key, windowsVirtualKeyCode: code, text };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...what });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...what });
  }
}

async function addressOf(browser: ChildProcess): Promise<string> {
  let told = '';
  for await (const chunk of browser.stderr!) {
    told += String(chunk);
    const found = /DevTools listening on (ws:\/\/\S+)/.exec(told);
    if (found?.[1] !== undefined) return found[1];
  }
  throw new Error(`the browser ended: ${told.slice(-500)}`);
}

async function open(t: Test, folder: string): Promise<Page> {
  const args = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--remote-debugging-port=0',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
    `--user-data-dir=${join(folder, 'profile')}`,
  ];
  const browser = spawn(BROWSER!, [...args, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe'] });
  const socket = new WebSocket(await addressOf(browser));
  t.teardown(async () => {
    socket.terminate();
    const gone = once(browser, 'exit');
    browser.kill('SIGKILL');
    await gone;
  });
  await once(socket, 'open');
  const page = new Page(socket);
  const { result } = await page.call('Target.createTarget', { url: 'about:blank' });
  const attached = await page.call('Target.attachToTarget', { targetId: result?.targetId, flatten: true });
  page.session = attached.result?.sessionId;
  await page.call('Log.enable');
  await page.call('Page.enable');
  const loaded = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      if ((JSON.parse(data.toString('utf8')) as Answer).method === 'Page.loadEventFired') resolve();
    });
  });
  await page.call('Page.navigate', { url: pathToFileURL(join(folder, 'report.html')).href });
  await loaded;
  return page;
}

const why = BROWSER === undefined ? 'there is no Chromium on this machine' : false;

t.test(
  'in a browser the page runs nothing of a client, sorts by keyboard, and fits any window',
  { skip: why },
  async (t) => {
    const folder = t.testdir({});
    const file = join(folder, 'report.html');
    writeFileSync(file, reportAsHtml(reportOf(dayOfRecords({ requests: 2000 }))));
    const page = await open(t, folder);
    t.same(page.logged, [], 'nothing was blocked, and nothing is wrong');
    t.equal(await page.evaluate('document.scripts.length'), 1);
    const claims = await page.evaluate(
      "[...document.querySelectorAll('#refusals td.name')].map((cell) => cell.textContent).join('\\n')",
    );
    t.match(String(claims), HOSTILE_NAME.slice(0, 40));

    const column =
      "[...document.querySelectorAll('#identities tbody td:nth-child(3)')].map((cell) => Number(cell.dataset.o))";
    const head = "document.querySelector('#identities th:nth-child(3)')";
    await page.evaluate(`${head}.querySelector('button').focus()`);
    await page.press('Enter', 13, '\r');
    const down = (await page.evaluate(column)) as number[];
    t.equal(await page.evaluate(`${head}.getAttribute('aria-sort')`), 'descending');
    await page.press('Enter', 13, '\r');
    const up = (await page.evaluate(column)) as number[];
    t.equal(await page.evaluate(`${head}.getAttribute('aria-sort')`), 'ascending');
    t.same(
      down,
      [...down].sort((a, b) => b - a),
    );
    t.same(
      up,
      [...down].reverse().sort((a, b) => a - b),
    );
    t.ok(up.length > 50 && up[0] !== up.at(-1));

    for (const width of [360, 400, 800, 1440, 2560]) {
      await page.call('Emulation.setDeviceMetricsOverride', {
        width,
        height: 900,
        deviceScaleFactor: 1,
        mobile: false,
      });
      const over = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      t.equal(await page.evaluate(over), 0, `${width} px: nothing runs off the side`);
    }
    for (const scheme of ['light', 'dark']) {
      await page.call('Emulation.setEmulatedMedia', {
        features: [{ name: 'prefers-color-scheme', value: scheme }],
      });
      t.same(await page.evaluate(LOW_CONTRAST), [], `${scheme}: every text can be read`);
    }
  },
);

/** Texts whose contrast with their ground is below 4.5 (WCAG 2.2, 1.4.3), with what it is. */
const LOW_CONTRAST = `(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)).reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = new Map();
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '')) continue;
    if (element.closest('svg, script, details') !== null) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.set(element.className + ' ' + element.tagName, contrast.toFixed(2));
  }
  return [...found];
})()`;
