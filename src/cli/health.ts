import { request } from 'node:http';
import { parseArgs } from 'node:util';
import { type CliIo, exitCode, wrongUsage } from './io.js';

const DEFAULT_ADDRESS = '127.0.0.1:9902';
const TIMEOUT_MS = 3000;
const USAGE = `Usage: countersign health [--address HOST:PORT | --address unix:/path]

Asks /readyz of the health (or admin) listener, by default at ${DEFAULT_ADDRESS}. Exit 0 if ready, else 1.
`;

/** `countersign health`: for Docker's HEALTHCHECK and systemd. */
export async function runHealth(argv: string[], io: CliIo): Promise<number> {
  let address: string;
  try {
    const { values } = parseArgs({
      args: argv,
      options: { address: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help) {
      io.stdout(USAGE);
      return exitCode.yes;
    }
    address = values.address ?? DEFAULT_ADDRESS;
  } catch (error) {
    return wrongUsage(io, 'health', (error as Error).message);
  }
  const target = targetOf(address);
  if (target === undefined)
    return wrongUsage(io, 'health', `--address must be HOST:PORT or unix:/path, not ${address}`);
  const { ready, text } = await ask(target);
  (ready ? io.stdout : io.stderr)(`${text.trim()}\n`);
  return ready ? exitCode.yes : exitCode.no;
}

type Where = { socketPath: string } | { host: string; port: number };

function targetOf(address: string): Where | undefined {
  if (address.startsWith('unix:')) return { socketPath: address.slice(5).replace(/^\/\/(?=\/)/, '') };
  const match = /^(\[[0-9a-f:.]+\]|[^:]+):(\d{1,5})$/i.exec(address);
  if (match === null) return undefined;
  return { host: match[1]!.replace(/^\[|\]$/g, ''), port: Number(match[2]) };
}

function ask(where: Where): Promise<{ ready: boolean; text: string }> {
  return new Promise((resolve) => {
    const outgoing = request({
      ...where,
      path: '/readyz',
      headers: { host: 'localhost' },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    outgoing.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text = (text + chunk).slice(0, 4096);
      });
      response.once('end', () => resolve({ ready: response.statusCode === 200, text }));
    });
    outgoing.once('error', (error) => resolve({ ready: false, text: `no answer: ${error.message}` }));
    outgoing.end();
  });
}
