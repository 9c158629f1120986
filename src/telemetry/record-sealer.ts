/** Signs batches of a stream's lines. The writer says which lines there are, and when their seal can be written. */
export interface RecordSealer {
  /**
   * These whole lines (newlines included; `bytes` is their concatenation) go to the target next, in this order; called once
   * for each line, before its first write.
   */
  cover(lines: readonly string[], bytes: Buffer): void;
  /** A seal is due: enough records, or it is time. Never while nothing is uncovered. */
  readonly isDue: boolean;
  /** True while something covered has no seal. */
  readonly isOpen: boolean;
  /** The seal line, newline included, over all that was covered since the last. Rejects where it cannot sign. `isLast`: at shutdown. */
  seal(isLast: boolean): Promise<string>;
  /** The line that seal() gave is written (and synced, where that is asked): its head may be shown. */
  sealed(): void;
}
