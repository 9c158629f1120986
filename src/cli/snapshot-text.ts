import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { resolve } from 'node:path';
import { err, ok, type Result } from '../reasons.js';

const TIMEOUT_MS = 5000;

/** The snapshot of a running sidecar: of its admin listener (http://… or unix:/path), or as it was saved to a file. */
export async function readSnapshot(from: string, cwd: string): Promise<Result<string, string>> {
  if (from.startsWith('unix:')) return ask({ socketPath: from.slice(5).replace(/^\/\/(?=\/)/, '') }, from);
  if (/^http:\/\//.test(from) && URL.canParse(from)) {
    const { hostname, port } = new URL(from);
    return ask({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 80) }, from);
  }
  try {
    return ok(await readFile(resolve(cwd, from), 'utf8'));
  } catch (cause) {
    return err(`${from}: cannot be read (${(cause as { code?: string }).code ?? String(cause)})`);
  }
}

function ask(
  where: { socketPath: string } | { host: string; port: number },
  from: string,
): Promise<Result<string, string>> {
  return new Promise((done) => {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const outgoing = request({ ...where, path: '/snapshot', headers: { host: 'localhost' }, signal });
    outgoing.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', (error) => done(err(`${from}: ${error.message}`)));
      response.once('end', () => {
        if (response.statusCode === 200) done(ok(Buffer.concat(chunks).toString('utf8')));
        else done(err(`${from}: /snapshot was answered ${response.statusCode}`));
      });
    });
    outgoing.once('error', (error) => done(err(`${from}: no answer: ${error.message}`)));
    outgoing.end();
  });
}
