import { setImmediate as nextTurn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type Certificate, parseCertificate } from '../identity/certificate.js';
import { bindCrls, type Crl, type CrlData, createCrl, parseCrlData } from '../identity/crl.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { err, ok, type Result } from '../reasons.js';

/** What a reading may take before it is given up. The longest list allowed takes a few seconds and little heap. */
export interface ReadingBounds {
  readonly deadlineMs: number;
  readonly heapMiB: number;
}

interface Order {
  readonly kind: 'read-crl';
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly trustDomain: TrustBundle['trustDomain'];
  /** DER. */
  readonly authorities: readonly Uint8Array[];
}

const BOUNDS: ReadingBounds = { deadlineMs: 60_000, heapMiB: 256 };
/** Copied between two turns of the event loop: well under a millisecond. */
const SLICE_BYTES = 512 * 1024;

/** One at a time: a folder of long lists that are all replaced at once must not take the memory of all at once. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Reads a list and verifies its signature in a thread of its own; what comes back is bound, and was handed over without a
 * copy. A thread that breaks, hangs or takes too much memory is a refusal with the reason.
 */
export function readCrlOffThread(
  bytes: Uint8Array,
  bundle: TrustBundle,
  bounds: ReadingBounds = BOUNDS,
): Promise<Result<Crl, string>> {
  const reading = last.then(async () => {
    const order: Order = {
      kind: 'read-crl',
      bytes: await copyInSlices(bytes),
      trustDomain: bundle.trustDomain,
      authorities: bundle.authorities.map(({ der }) => new Uint8Array(der)),
    };
    const read = await runThread(order, bounds);
    return read.ok ? ok(createCrl(read.value)) : read;
  });
  last = reading.catch(() => undefined);
  return reading;
}

/** The thread takes its memory along, and the source may still judge these bytes a second time. */
async function copyInSlices(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const copy = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    copy.set(bytes.subarray(at, at + SLICE_BYTES), at);
    await nextTurn();
  }
  return copy;
}

function runThread(order: Order, { deadlineMs, heapMiB }: ReadingBounds): Promise<Result<CrlData, string>> {
  return new Promise((resolve) => {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: order,
      transferList: [order.bytes.buffer],
      env: {},
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: heapMiB },
    });
    const timer = setTimeout(() => end(err(`reading it took longer than ${deadlineMs} ms`)), deadlineMs);
    const end = (result: Result<CrlData, string>): void => {
      clearTimeout(timer);
      resolve(worker.terminate().then(() => result)); // its memory is free before the next list is read
    };
    worker.once('message', end);
    worker.once('messageerror', (cause) =>
      end(err(`what was read of it cannot be taken over: ${cause.message}`)),
    );
    worker.once('error', (cause: NodeJS.ErrnoException) =>
      end(
        err(
          cause.code === 'ERR_WORKER_OUT_OF_MEMORY'
            ? `reading it took more than ${heapMiB} MiB of memory`
            : `the thread that read it broke: ${cause.message}`,
        ),
      ),
    );
    worker.once('exit', (code) => end(err(`the thread that read it ended early, code ${code}`)));
  });
}

/** In the thread: the list, read and bound, in memory that belongs to it alone. */
function readOrder({ bytes, trustDomain, authorities }: Order): Result<CrlData, string> {
  const data = parseCrlData(bytes);
  if (!data.ok) return data;
  const certificates: Certificate[] = [];
  for (const der of authorities) {
    const certificate = parseCertificate(der);
    if (certificate.ok) certificates.push(certificate.value);
  }
  const bound = bindCrls({ trustDomain, authorities: certificates }, [createCrl(data.value)]);
  if (!bound.ok) return bound;
  return ok({
    ...data.value,
    der: inOwnMemory(data.value.der),
    signerKeySha256: bound.value[0]?.signerKeySha256,
  });
}

/** Node lends small buffers from a pool, which cannot be handed over. */
const inOwnMemory = (octets: Uint8Array): Uint8Array =>
  octets.buffer.byteLength === octets.length ? octets : new Uint8Array(octets);

const isOrder = (value: unknown): value is Order =>
  typeof value === 'object' && value !== null && (value as Partial<Order>).kind === 'read-crl';

if (!isMainThread && parentPort !== null && isOrder(workerData)) {
  const read = readOrder(workerData);
  const memory = read.ok ? [read.value.der.buffer, read.value.serials.slots.buffer] : [];
  parentPort.postMessage(read, memory as ArrayBuffer[]);
}
