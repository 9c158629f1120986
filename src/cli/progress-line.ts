import type { CliIo } from './io.js';

const EVERY_MS = 200;
const ERASE = '\r\u001b[K';

/** How far a long reading has come: one line on a terminal, which is gone at the end; nothing anywhere else. */
export class ProgressLine {
  #bytes = 0;
  #shownMs: number | undefined;

  constructor(
    readonly io: Pick<CliIo, 'stderr' | 'isTerminal'>,
    /** Bytes there are; undefined = nobody knows. */
    readonly total: number | undefined,
    readonly nowMs: () => number = () => performance.now(),
  ) {}

  add(bytes: number, lines: number): void {
    this.#bytes += bytes;
    if (this.io.isTerminal !== true) return;
    const nowMs = this.nowMs();
    if (this.#shownMs !== undefined && nowMs - this.#shownMs < EVERY_MS) return;
    this.#shownMs = nowMs;
    const { total } = this;
    const share = total === undefined || total === 0 ? '' : `, ${Math.floor((this.#bytes / total) * 100)}%`;
    this.io.stderr(`${ERASE}${lines} lines read${share}`);
  }

  clear(): void {
    if (this.#shownMs !== undefined) this.io.stderr(ERASE);
  }
}
