/** Times of records as text. Most of it is the same for a whole second, and formatting a date costs half a microsecond. */
export class IsoTime {
  #second = Number.NaN;
  /** Of that second, up to its point. */
  #prefix = '';

  /** @param ms Unix milliseconds. @returns what Date.prototype.toISOString does. */
  format(ms: number): string {
    const second = Math.floor(ms / 1000);
    if (second !== this.#second) {
      this.#prefix = new Date(second * 1000).toISOString().slice(0, -4);
      this.#second = second;
    }
    const rest = Math.floor(ms) - second * 1000;
    return `${this.#prefix}${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}Z`;
  }
}
