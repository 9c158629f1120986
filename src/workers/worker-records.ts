import type { Worker } from 'node:cluster';
import { relayLines } from './line-relay.js';
import type { ToWorker } from './protocol.js';

/** Where the records of workers go. */
export interface RecordTaker {
  /** A record, whole, with its newline. @param dealtWith to be called once it is kept, or is known not to be. */
  line(line: string, dealtWith?: () => void): void;
  /** False while no more records should come. */
  hasRoom(): boolean;
}

/** Reads what a worker writes to its standard output. @param acknowledges it waits until it hears that its records are kept */
export function takeRecords(worker: Worker, taker: RecordTaker, acknowledges: boolean): void {
  const { stdout } = worker.process;
  if (stdout === null) return;
  const take = acknowledges ? acknowledging(worker, taker) : (line: string): void => taker.line(line);
  const readRest = relayLines(stdout, { take, hasRoom: () => taker.hasRoom() });
  worker.process.once('exit', readRest);
}

function acknowledging(worker: Worker, taker: RecordTaker): (line: string) => void {
  let lines = 0;
  let isPlanned = false;
  const tell = (): void => {
    isPlanned = false;
    if (worker.isConnected()) worker.send({ kind: 'recorded', lines } satisfies ToWorker);
  };
  const dealtWith = (): void => {
    lines++;
    if (!isPlanned) setImmediate(tell); // one message for all of one write
    isPlanned = true;
  };
  return (line) => taker.line(line, dealtWith);
}
