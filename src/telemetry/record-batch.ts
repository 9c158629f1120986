/** Told once: whether the record is kept as the durability asks. Never from within the call that wrote it. */
export type Confirmed = (isKept: boolean) => void;

/** Lines that go out together. */
export class Batch {
  readonly lines: string[] = [];
  /** Those of our own stream, where not all are. */
  own: string[] | undefined;
  confirms: Confirmed[] = [];
  bytes = 0;

  takeConfirms(): Confirmed[] {
    const { confirms } = this;
    this.confirms = [];
    return confirms;
  }

  add(line: string, isOwn: boolean, confirmed: Confirmed | undefined): void {
    if (!isOwn) this.own ??= [...this.lines];
    else this.own?.push(line);
    this.lines.push(line);
    this.bytes += line.length;
    if (confirmed !== undefined) this.confirms.push(confirmed);
  }
}

/** Nearly all records are plain ASCII, which is copied as it is; only others are worth an encoder's pass over every character. */
export function bytesOf(lines: readonly string[]): Buffer {
  const text = lines.join('');
  return Buffer.from(text, Buffer.byteLength(text) === text.length ? 'latin1' : 'utf8');
}
