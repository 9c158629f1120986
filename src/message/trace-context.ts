import { trimOws } from './char-class.js';

export interface TraceParent {
  readonly traceId: string;
  readonly parentId: string;
  /** Known flags only: 1 sampled, 2 random (Trace Context level 2). */
  readonly flags: number;
}

const MAX_MEMBERS = 32;
const MAX_STATE_LENGTH = 512;
const LARGE_MEMBER = 128;
const DASH = 45;

/** Undefined for anything that W3C Trace Context says must be ignored; a version after 00 is read by its known part. */
export function parseTraceparent(value: string): TraceParent | undefined {
  const text = trimOws(value);
  if (text.length < 55) return undefined;
  if (text.charCodeAt(2) !== DASH || text.charCodeAt(35) !== DASH || text.charCodeAt(52) !== DASH) {
    return undefined;
  }
  if (!isHex(text, 0, 2) || !isHex(text, 3, 35) || !isHex(text, 36, 52) || !isHex(text, 53, 55)) {
    return undefined;
  }
  const version = text.slice(0, 2);
  if (version === 'ff') return undefined;
  // version 00 has exactly this length; a later one may only go on with another field
  if (text.length > 55 && (version === '00' || text.charCodeAt(55) !== DASH)) return undefined;
  if (isZero(text, 3, 35) || isZero(text, 36, 52)) return undefined;
  return {
    traceId: text.slice(3, 35),
    parentId: text.slice(36, 52),
    flags: Number.parseInt(text.slice(53, 55), 16) & 3,
  };
}

/** Always version 00; unknown flags are zero (Trace Context, "Mutating the traceparent Field"). */
export function formatTraceparent(traceId: string, parentId: string, flags: number): string {
  return `00-${traceId}-${parentId}-0${flags & 3}`;
}

/** The list as it may be sent on, or undefined when it is empty or broken: a broken one is dropped and never harms traceparent. */
export function parseTracestate(value: string): string | undefined {
  const members: string[] = [];
  const keys = new Set<string>();
  for (const item of value.split(',')) {
    const member = trimOws(item);
    if (member === '') continue;
    const equals = member.indexOf('=');
    if (equals < 1) return undefined;
    const key = member.slice(0, equals);
    if (!isStateKey(key) || !isStateValue(member, equals + 1) || keys.has(key)) return undefined;
    keys.add(key);
    members.push(member);
    if (members.length > MAX_MEMBERS) return undefined;
  }
  return members.length === 0 ? undefined : cutToLimit(members);
}

/** Trace Context 3.3.1.5: over 512 characters, entries over 128 go first, then whole entries from the end. */
function cutToLimit(members: readonly string[]): string | undefined {
  const whole = members.join(',');
  if (whole.length <= MAX_STATE_LENGTH) return whole;
  const kept = members.filter((member) => member.length <= LARGE_MEMBER);
  while (kept.length > 0 && kept.join(',').length > MAX_STATE_LENGTH) kept.pop();
  return kept.length === 0 ? undefined : kept.join(',');
}

/** `key` or `tenant@system`: lower-case letters, digits and `_`, `-`, `*`, `/`. */
function isStateKey(key: string): boolean {
  const at = key.indexOf('@');
  if (at < 0) return key.length <= 256 && isKeyPart(key, 0, key.length);
  return (
    at <= 241 && key.length - at - 1 <= 14 && isKeyPart(key, 0, at) && isKeyPart(key, at + 1, key.length)
  );
}

function isKeyPart(key: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const code = key.charCodeAt(i);
    const isAlnum = (code >= 97 && code <= 122) || (code >= 48 && code <= 57);
    const isInner = code === 95 || code === 45 || code === 42 || code === 47;
    if (!isAlnum && (i === start || !isInner)) return false;
  }
  return end > start;
}

function isStateValue(member: string, start: number): boolean {
  const length = member.length - start;
  if (length < 1 || length > 256) return false;
  for (let i = start; i < member.length; i++) {
    const code = member.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 61) return false;
  }
  return true;
}

function isHex(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i);
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return false;
  }
  return true;
}

function isZero(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    if (text.charCodeAt(i) !== 48) return false;
  }
  return true;
}
