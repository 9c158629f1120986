import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { measureScenarios } from '../load/measure.js';
import { scenarios } from '../load/scenarios.js';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { problemOfCpuAccounting } from '../support/running-program.js';
import { measureEnding } from './ending.js';
import { measureHttp2 } from './http2.js';
import { measureIdle } from './idle-sockets.js';
import { grpcCalls, tcpConnections, webSockets } from './stream-shapes.js';

const PARTS = ['http2', 'tcp', 'idle', 'ending'] as const;
const USAGE = `Usage: npm run bench:protocols -- [--only PARTS] [--streams N] [--rounds N] [--seconds N] [--node PATH] [--out DIR]

  http2   small requests by h2load, HTTP/2 (10 connections x 20 streams) and HTTP/1.1 in turns: CPU of each (limit: 1.5 times)
  tcp     transfers of 1 MiB beside nginx's stream module, over long-lived and over new connections
  idle    resident memory of each of 5,000 idle WebSockets, and TCP connections (limit: 60 KiB)
  ending  one revocation ends 5,000 open WebSockets, TCP connections, gRPC calls: how long at the proxy (limit: 300 ms), and the
          longest that its event loop stood still (limit: 10 ms of CPU in one turn)

--only takes one or more of them, with commas. Needs \`ulimit -n\` of two and a half times --streams (5000). Results go to
bench/results/protocols-PART.json (of tcp: tcp-1mib.json, tcp-1mib-new.json). Exit 1 when a limit is passed.
`;

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: {
    only: { ...text, default: PARTS.join(',') },
    streams: { ...text, default: '5000' },
    rounds: { ...text, default: '5' },
    seconds: { ...text, default: '3' },
    node: { ...text, default: process.execPath },
    out: { ...text, default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});
const [streams, rounds, seconds] = [Number(values.streams), Number(values.rounds), Number(values.seconds)];

type Row = object;

function publish(part: string, rows: readonly Row[], more: object = {}): void {
  const columns = Object.keys(rows[0] ?? {});
  const cells = rows.map((row) => Object.values(row).map(String));
  console.log(`\n### ${part}\n\n${markdownTable(columns, cells)}`);
  mkdirSync(values.out, { recursive: true });
  const result = { environment: describeEnvironment(values.node), rows, ...more };
  writeFileSync(join(values.out, `protocols-${part}.json`), `${JSON.stringify(result, null, 1)}\n`);
}

async function http2(): Promise<boolean> {
  const result = await measureHttp2(values.node, rounds, seconds);
  if (result === undefined) {
    console.log('h2load is not installed: http2 is skipped');
    return true;
  }
  publish('http2', result.rows, { turns: result.turns });
  return result.rows[0]!.timesHttp1 <= 1.5 && result.rows.every(({ failed }) => failed === 0);
}

/** @returns true: what nginx does on this machine is for people to compare. */
async function tcp(): Promise<boolean> {
  await measureScenarios({
    scenarios: scenarios.filter(({ mode }) => mode === 'tcp'),
    subjects: ['countersign', 'nginx'],
    seconds,
    rounds,
    nodePath: values.node,
    out: values.out,
  });
  return true;
}

async function idle(): Promise<boolean> {
  const rows = [];
  for (const shape of [webSockets, tcpConnections]) rows.push(await measureIdle(values.node, shape, streams));
  publish('idle', rows);
  return rows.every(({ kibEach }) => kibEach <= 60);
}

async function ending(): Promise<boolean> {
  const rows = [];
  for (const shape of [webSockets, tcpConnections, grpcCalls(100), grpcCalls(1)])
    rows.push(await measureEnding(values.node, shape, streams));
  publish('ending', rows);
  return rows.every((row) => row.ended === streams && row.recordedMs <= 300 && !(row.longestTurnCpuMs > 10));
}

function checkDescriptors(): void {
  const limit = Number(execFileSync('/bin/sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }));
  const needed = streams * 2.5;
  if (limit < needed) throw new Error(`${streams} streams need \`ulimit -n ${needed}\`; it is ${limit}`);
}

async function main(): Promise<boolean> {
  const problem = problemOfCpuAccounting();
  if (problem !== undefined) throw new Error(problem);
  const only = values.only.split(',');
  const odd = only.find((part) => !PARTS.some((known) => known === part));
  if (odd !== undefined) throw new Error(`"${odd}" is none of ${PARTS.join(', ')}`);
  if (only.includes('idle') || only.includes('ending')) checkDescriptors();
  let isWithin = true;
  const parts = { http2, tcp, idle, ending };
  for (const part of PARTS) if (only.includes(part)) isWithin = (await parts[part]()) && isWithin;
  return isWithin;
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = (await main()) ? 0 : 1;
