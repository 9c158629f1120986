import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type BenchSite, withSite } from '../support/bench-site.js';
import { findProgram } from '../support/environment.js';
import { HOST } from '../support/raw-connection.js';
import { cpuBetween } from '../support/running-program.js';
import { median, round } from '../support/statistics.js';
import { TlsWrapper } from './tls-wrapper.js';

const run = promisify(execFile);

interface Shape {
  readonly name: string;
  readonly alpn: 'h2' | 'http/1.1';
  readonly connections: number;
  readonly streams: number;
}

/** HTTP/2 as the issue names it; HTTP/1.1 as `bench:load` measures it, and with as many requests at once. */
const SHAPES: readonly Shape[] = [
  { name: 'HTTP/2, 10 connections x 20 streams', alpn: 'h2', connections: 10, streams: 20 },
  { name: 'HTTP/1.1, 50 connections', alpn: 'http/1.1', connections: 50, streams: 1 },
  { name: 'HTTP/1.1, 200 connections', alpn: 'http/1.1', connections: 200, streams: 1 },
];

interface Turn {
  readonly shape: string;
  readonly completed: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly cpuMicros: number;
}

export interface Http2Result {
  readonly rows: readonly {
    readonly shape: string;
    readonly cpuMicros: number;
    readonly timesHttp1: number;
    readonly perSecond: number;
    readonly failed: number;
  }[];
  readonly turns: readonly Turn[];
}

/** CPU that one small request costs, in turns of `seconds` within one run. Undefined where h2load is not installed. */
export async function measureHttp2(
  nodePath: string,
  rounds: number,
  seconds: number,
): Promise<Http2Result | undefined> {
  const h2load = findProgram('h2load');
  if (h2load === undefined) return undefined;
  return withSite(nodePath, async (site) => {
    const wrapper = new TlsWrapper();
    try {
      const turns: Turn[] = [];
      for (const shape of SHAPES) await takeTurn(site, wrapper, h2load, shape, 2);
      for (let i = 0; i < rounds; i++)
        for (const shape of SHAPES) turns.push(await takeTurn(site, wrapper, h2load, shape, seconds));
      return summarise(turns);
    } finally {
      wrapper.stop();
    }
  });
}

async function takeTurn(
  { countersign, pki }: BenchSite,
  wrapper: TlsWrapper,
  h2load: string,
  { name, alpn, connections, streams }: Shape,
  seconds: number,
): Promise<Turn> {
  const { port, program } = countersign;
  const plain = await wrapper.wrap({ port, identity: pki.caller, alpn, connections });
  const spoken = alpn === 'h2' ? 'h2c' : 'http/1.1';
  const before = program.cpuTime();
  const { stdout } = await run(h2load, [
    ...['-c', String(connections), '-m', String(streams), '-t', '1', '-D', String(seconds), '-p', spoken],
    // As over TLS: HTTP/2 says there which scheme it is.
    ...(alpn === 'h2' ? ['-H', ':scheme: https'] : []),
    `--connect-to=127.0.0.1:${plain}`,
    `http://${HOST}/invoices/7`,
  ]);
  const spent = cpuBetween(before, program.cpuTime());
  const [, completed, failed, errored] = (
    /(\d+) succeeded, (\d+) failed, (\d+) errored/.exec(stdout) ?? []
  ).map(Number);
  if (!completed) throw new Error(`h2load had no answers:\n${stdout}`);
  return {
    shape: name,
    completed,
    failed: (failed ?? 0) + (errored ?? 0),
    perSecond: round(completed / seconds, 0),
    cpuMicros: round(((spent.userSeconds + spent.systemSeconds) * 1e6) / completed, 1),
  };
}

function summarise(turns: readonly Turn[]): Http2Result {
  const of = (shape: string): readonly Turn[] => turns.filter((turn) => turn.shape === shape);
  const cpuOf = (shape: string): number => median(of(shape).map(({ cpuMicros }) => cpuMicros));
  const http1 = cpuOf(SHAPES[1]!.name);
  const rows = SHAPES.map(({ name: shape }) => ({
    shape,
    cpuMicros: round(cpuOf(shape), 1),
    timesHttp1: round(cpuOf(shape) / http1),
    perSecond: round(median(of(shape).map(({ perSecond }) => perSecond)), 0),
    failed: of(shape).reduce((sum, { failed }) => sum + failed, 0),
  }));
  return { rows, turns };
}
