/** What a tunnel that says much is read into: TLS writes as much at a time as it is given. */
const LARGE_BYTES = 256 * 1024;
/** Large ones of all tunnels together; further tunnels that say much read into those of this size. */
const MOST_LARGE = 64;
const MIDDLE_BYTES = 32 * 1024;

const free: Buffer[] = [];
let large = 0;

/** Whoever takes one gives it back when nobody reads or writes it any more. */
export function takeLarge(): Buffer {
  const known = free.pop();
  if (known !== undefined) return known;
  if (large >= MOST_LARGE) return Buffer.allocUnsafeSlow(MIDDLE_BYTES);
  large++;
  return Buffer.allocUnsafeSlow(LARGE_BYTES);
}

/** Others than large ones are nothing to keep. */
export function giveBack(buffer: Buffer): void {
  if (buffer.length === LARGE_BYTES) free.push(buffer);
}
