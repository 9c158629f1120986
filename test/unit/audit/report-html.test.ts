import { createHash } from 'node:crypto';
import t from 'tap';
import { html } from '../../../src/audit/report/html-text.js';
import { reportAsHtml } from '../../../src/audit/report/report-html.js';
import { visible } from '../../../src/audit/report/report-wording.js';
import { dayOfRecords, HOSTILE_NAME } from '../../support/day-of-records.js';
import { recordText } from '../../support/records.js';
import { reportOf } from '../../support/report-of.js';

const VOID = new Set(['meta', 'wbr', 'rect', 'link', 'br']);

/** The names of elements that are open where they must not be; undefined: the page is well formed. */
function notWellFormed(page: string): string | undefined {
  const body = page.replace(/<(style|script)>[\s\S]*?<\/\1>/g, '<$1></$1>');
  const open: string[] = [];
  for (const [tag, end, name = '', rest = ''] of body.matchAll(
    /<(\/?)([a-z0-9]+)((?:\s+[a-zA-Z-]+(?:="[^"<]*")?)*)\s*\/?>|</g,
  )) {
    if (name === '')
      return tag === '<' && body.includes('<!doctype') && open.length === 0 ? undefined : tag + rest;
    if (end === '/') {
      const last = open.pop();
      if (last !== name) return `${last} is closed by ${name}`;
    } else if (!VOID.has(name)) open.push(name);
  }
  return open.length === 0 ? undefined : open.join(' ');
}

const day = reportAsHtml(reportOf(dayOfRecords({ requests: 3000 })));
const withoutDoctype = (page: string): string => page.replace('<!doctype html>', '');

t.test('the page is well formed', async (t) => {
  t.match(day, /^<!doctype html>\n<html lang="en" dir="ltr">/);
  t.equal(notWellFormed(withoutDoctype(day)), undefined);
  t.equal(notWellFormed('<p><b></p>'), 'b is closed by p', 'the check can fail');
});

t.test(
  'the page fetches nothing, and nothing runs or paints but what its policy names by hash',
  async (t) => {
    t.notMatch(day, /\b(src|srcset|action|formaction|ping|poster|data)\s*=/);
    t.notMatch(day, /@import|url\(|<(link|iframe|object|embed|base|form|img)\b/);
    t.same(new Set([...day.matchAll(/href="(.)/g)].map(([, first]) => first)), new Set(['#']));
    t.notMatch(day, /\son[a-z]+=|\sstyle=|javascript:/);
    t.notMatch(day, /https?:\/\//);
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(day)?.[1] ?? '';
    t.match(
      policy,
      /^default-src 'none'; style-src 'sha256-[^ ]+'; script-src 'sha256-[^ ]+'; base-uri 'none'; form-action 'none'$/,
    );
    for (const kind of ['style', 'script']) {
      const parts = [...day.matchAll(new RegExp(`<${kind}>([\\s\\S]*?)</${kind}>`, 'g'))];
      t.equal(parts.length, 1, kind);
      const hash = createHash('sha256')
        .update(parts[0]?.[1] ?? '')
        .digest('base64');
      t.ok(policy.includes(`${kind}-src 'sha256-${hash}'`), kind);
    }
  },
);

t.test('every link within the page leads somewhere', async (t) => {
  for (const [, id] of day.matchAll(/href="#([^"]*)"/g)) t.ok(day.includes(` id="${id}"`), `#${id}`);
});

const HOSTILE = [
  HOSTILE_NAME,
  '</script><script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '<!--',
  ']]>',
  '&lt;b&gt;',
  '\u202eexe.fdp\u2066\u200b\ufeff',
  '\u0000\u001b[31m\u007f\u0085\u2028',
];

t.test('what a client wrote is text wherever it stands, and what cannot be seen is shown', async (t) => {
  for (const name of HOSTILE) {
    const lines = [
      recordText({
        principal: {
          id: name,
          owner: name,
          serial: name,
          sha256: name,
          keySha256: name,
          authority: name,
          issuer: name,
        },
        decision: { rule: name, reason: name, policyRevision: name, trustRevision: name, exception: name },
        request: { destination: name, route: name, secrets: [name] },
      }),
      recordText({
        event: 'handshake',
        principal: { id: name, kind: 'none' },
        decision: { effect: 'deny', reason: name },
      }),
      JSON.stringify({
        stream: { id: name, boot: name, worker: 0 },
        seq: 1,
        time: '2026-11-21T10:00:00.000Z',
        event: name,
        source: name,
        detail: name,
      }),
      JSON.stringify({
        seq: 1,
        time: '2026-11-21T10:00:00.000Z',
        event: 'audit.gap',
        gap: { why: name },
        detail: name,
      }),
      JSON.stringify({
        seq: 2,
        time: '2026-11-21T10:00:00.000Z',
        event: 'credential.shared',
        shared: { kind: name, ids: [name] },
        detail: name,
      }),
      JSON.stringify({
        seq: 3,
        time: '2026-11-21T10:00:00.000Z',
        event: 'exception.started',
        exception: { id: name, owner: name, expires: name },
      }),
    ];
    const page = reportAsHtml(reportOf(lines, { file: name, destination: name, identity: name }));
    t.equal(notWellFormed(withoutDoctype(page)), undefined, `name ${HOSTILE.indexOf(name)}`);
    t.equal(page.match(/<script/g)?.length, 1);
    t.notMatch(page, /<img|<b>alert/);
    t.notMatch(page, /[^\n\P{C}]|[\u2028\u2029]/u);
    t.ok(page.replace(/<wbr>/g, '').includes(html(name)), `name ${HOSTILE.indexOf(name)}`);
  }
});

t.test('what cannot be seen is written as its code', async (t) => {
  t.equal(visible('a\u202eb\u0007\u{e0041}\u2028ä😀'), 'a\\u202eb\\u0007\\u{e0041}\\u2028ä😀');
  t.equal(html('<a href="x">&\'</a>'), '&lt;a href=&quot;x&quot;&gt;&amp;&#39;&lt;/a&gt;');
});

t.test('each column can be sorted by button, and numbers sort as numbers', async (t) => {
  const table = /aria-label="Identities">([\s\S]*?)<\/table>/.exec(day)?.[1] ?? '';
  t.match(table, /<th scope="col" class="number"><button type="button">Requests<\/button><\/th>/);
  t.match(table, /<td class="number" data-o="\d+">[\d,]+<\/td>/);
});

t.test('a report of nothing is a page as well', async (t) => {
  const page = reportAsHtml(reportOf([]));
  t.equal(notWellFormed(withoutDoctype(page)), undefined);
  t.match(page, /no record counts/);
});
