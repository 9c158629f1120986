/**
 * What JSON leaves as it is and a reader may still take for something else: line ends of other readers (NEL, U+2028, U+2029),
 * controls that steer a terminal (C1, DEL), and format characters that turn the text of a line around (bidirectional
 * overrides) or cannot be seen, and halves of characters, which UTF-8 cannot hold. Clients write some of these values.
 */
const UNSEEN = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;
const NOT_ASCII = /[^\n -~]/;

/** JSON text as it may stand in a line of records: the same values, and nothing that is not plainly visible. */
export function escapeUnseen(json: string): string {
  return NOT_ASCII.test(json) ? json.replace(UNSEEN, escapeUnits) : json;
}

/** JSON.stringify for a line of records. */
export const toLineText = (value: object | string): string => escapeUnseen(JSON.stringify(value));

/** Every UTF-16 unit by itself, as JSON escapes them. */
function escapeUnits(char: string): string {
  let escaped = '';
  for (let i = 0; i < char.length; i++) escaped += `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}
