import type { OnReadOpts, Socket } from 'node:net';

/** Where Node keeps what `onread` is; missing from the types. */
interface Slots {
  readonly buffer: symbol;
  readonly callback: symbol;
  readonly generator: symbol;
}

type OpenSocket = Socket & {
  _handle?: { useUserBuffer?(buffer: Uint8Array): void } | null;
  [slot: symbol]: unknown;
};

/**
 * Has an open socket read into buffers of ours, which net.connect does only for new ones: without it every TLS record costs a
 * buffer of its own, half of what a transfer costs. What it has read already must be taken before.
 * @returns false where this version of Node keeps no such slots: then its bytes come as `data` as ever.
 */
export function readInto(socket: Socket, buffer: () => Buffer, callback: OnReadOpts['callback']): boolean {
  const open = socket as OpenSocket;
  const slots = slotsOf(open);
  const handle = open._handle;
  if (slots === undefined || typeof handle?.useUserBuffer !== 'function' || open[slots.buffer]) return false;
  const first = buffer();
  open[slots.buffer] = first;
  open[slots.callback] = callback;
  open[slots.generator] = buffer;
  handle.useUserBuffer(first);
  return true;
}

function slotsOf(socket: OpenSocket): Slots | undefined {
  const all = Object.getOwnPropertySymbols(socket);
  const find = (name: string): symbol | undefined => all.find(({ description }) => description === name);
  const buffer = find('kBuffer');
  const callback = find('kBufferCb');
  const generator = find('kBufferGen');
  if (buffer === undefined || callback === undefined || generator === undefined) return undefined;
  return { buffer, callback, generator };
}
