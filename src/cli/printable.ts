/** Records may have been through anybody's hands: what is shown must not steer a terminal. */
export const printable = (text: string): string =>
  text.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
