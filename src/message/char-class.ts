/** Character classes as tables: every octet of every request head is looked up here, so no regex and no branches. */

const table = (matches: (code: number) => boolean): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, code) => (matches(code) ? 1 : 0));
const setOf = (text: string): ((code: number) => boolean) => {
  const codes = new Set([...text].map((char) => char.charCodeAt(0)));
  return (code) => codes.has(code);
};

const isAlnum = (code: number): boolean =>
  (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
const isTokenPunctuation = setOf("!#$%&'*+-.^_`|~");
const isUnreservedPunctuation = setOf('-._~');

/** RFC 9110 5.6.2 tchar. */
export const TOKEN: Uint8Array = table((code) => isAlnum(code) || isTokenPunctuation(code));
/** RFC 9110 5.5: HTAB, SP, VCHAR, obs-text. NUL, CR, LF and the other controls are out. */
export const FIELD_VALUE: Uint8Array = table((code) => code === 9 || (code >= 32 && code !== 127));
/** RFC 3986 2.3. */
export const UNRESERVED: Uint8Array = table((code) => isAlnum(code) || isUnreservedPunctuation(code));
export const ALNUM: Uint8Array = table(isAlnum);
/** 0-15 for a hex digit of either case, else 255. */
export const HEX: Uint8Array = Uint8Array.from({ length: 256 }, (_, code) => {
  if (code >= 48 && code <= 57) return code - 48;
  const lower = code | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : 255;
});

/** Every character of a non-empty text is in the table; a character above 255 never is. */
export function isAll(text: string, allowed: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) {
    if (allowed[text.charCodeAt(i)] !== 1) return false;
  }
  return text.length > 0;
}

/** As isAll, but an empty text passes: a field may be empty. */
export const isFieldValue = (text: string): boolean => text.length === 0 || isAll(text, FIELD_VALUE);

/** 1-`max` visible ASCII characters: what may be shown and stored without a second thought. */
export function isVisibleAscii(text: string, max: number): boolean {
  if (text.length === 0 || text.length > max) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x21 || code > 0x7e) return false;
  }
  return true;
}

/** The value of up to `maxDigits` decimal digits; anything else is undefined. No sign, no exponent, no white space. */
export function parseDecimal(text: string, maxDigits: number): number | undefined {
  if (text.length === 0 || text.length > maxDigits) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
  }
  return value;
}

/** Outer spaces and tabs off (RFC 9110 5.6.3 OWS); unlike trim() nothing else. */
export function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isOws(text.charCodeAt(start))) start++;
  while (end > start && isOws(text.charCodeAt(end - 1))) end--;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

export const isOws = (code: number): boolean => code === 32 || code === 9;

/** UTF-8 octets outside printable ASCII as `\C3\B6` (RFC 4514 2.4): a DN can never bring raw octets into a header. */
export function escapeDnText(text: string): string {
  return escapeOctets(text, '\\');
}

/** As escapeDnText, with `%C3%B6`. */
export function percentEncodeText(text: string): string {
  return escapeOctets(text, '%');
}

function escapeOctets(text: string, mark: '\\' | '%'): string {
  if (isPrintableAscii(text)) return text;
  let out = '';
  for (const octet of Buffer.from(text, 'utf8')) {
    out +=
      octet >= 0x20 && octet <= 0x7e
        ? String.fromCharCode(octet)
        : mark + (octet < 16 ? '0' : '') + octet.toString(16).toUpperCase();
  }
  return out;
}

function isPrintableAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return false;
  }
  return true;
}
