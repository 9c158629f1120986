import type { SigningAlgorithm } from '../identity/signing-key.js';
import { err, ok, type Result } from '../reasons.js';
import { formatHead } from './seal-head.js';

/** Who writes a stream of records: one process, from its start to its end. */
export interface StreamName {
  /** Host name. */
  readonly id: string;
  readonly boot: string;
  /** 0 = the only one, or the supervisor of several. */
  readonly worker: number;
}

/** What a seal signs: a batch of a stream's lines, and by `previous` all batches before it. */
export interface SealPayload {
  readonly stream: StreamName;
  /** 1, 2, … of the stream. */
  readonly number: number;
  /** Sequence numbers, both within: `from` follows the seal before, `to` is that of the last line. */
  readonly from: number;
  readonly to: number;
  /** Lines; fewer than `from` to `to` only where a gap is declared. */
  readonly records: number;
  /** base64url SHA-256 of the lines' bytes in order, newlines included. */
  readonly hash: string;
  /** base64url of a CRC-32 of each line without its newline (big endian): tells which line was altered, proves nothing. */
  readonly lines: string;
  /** base64url SHA-256 of the seal before's JWS; null for number 1. */
  readonly previous: string | null;
  /** As Date.toISOString() writes it. */
  readonly time: string;
  /** Nothing follows: the process ended as it should. */
  readonly last: boolean;
}

/** A seal as its line says it; the signature is not checked yet. */
export interface SealLine {
  readonly alg: SigningAlgorithm;
  readonly kid: string;
  readonly payload: SealPayload;
  readonly jws: string;
}

export const SEAL_TYPE = 'countersign-seal';
const VERSION = 1;
const HASH_BYTES = 32;
const CHECKSUM_BYTES = 4;
/** Of both algorithms. */
const SIGNATURE_BYTES = 64;

/** The protected header's text. @param kid RFC 7638 thumbprint */
export const formatSealHeader = (alg: SigningAlgorithm, kid: string): string =>
  `{"alg":"${alg}","kid":${JSON.stringify(kid)},"typ":"${SEAL_TYPE}"}`;

export function formatSealPayload(payload: SealPayload): string {
  const { number, from, to, records, hash, lines, previous, time, last } = payload;
  const batch = `"number":${number},"from":${from},"to":${to},"records":${records}`;
  const proof = `"hash":"${hash}","lines":"${lines}","previous":${JSON.stringify(previous)}`;
  const end = last ? ',"last":true' : '';
  return `{"v":${VERSION},"stream":${streamText(payload.stream)},${batch},${proof},"time":"${time}"${end}}`;
}

/** The seal's line with its newline: beside the JWS it holds nothing that the JWS does not say. */
export function formatSealLine(payload: SealPayload, jws: string): string {
  const { stream, time, number, from, to } = payload;
  const seal = `{"number":${number},"from":${from},"to":${to},"head":${JSON.stringify(formatHead(payload, jws))}}`;
  return `{"stream":${streamText(stream)},"time":"${time}","event":"audit.seal","seal":${seal},"jws":"${jws}"}\n`;
}

/** Takes exactly what formatSealPayload writes: another text of the same meaning was not sealed by us. */
export function parseSealPayload(text: string): Result<SealPayload, string> {
  const fields = objectOf(text);
  if (fields === undefined) return err('its payload is not a JSON object');
  if (fields.v !== VERSION) return err(`its version is not ${VERSION}`);
  const stream = streamOf(fields.stream);
  if (stream === undefined) return err('its stream has no id, boot and worker');
  const { number, from, to, records, hash, lines, previous, time, last = false } = fields;
  if (!isCount(number) || !isCount(from) || !isCount(to) || !isCount(records))
    return err('its numbers are not numbers from 1');
  if (typeof hash !== 'string' || typeof lines !== 'string' || typeof time !== 'string')
    return err('its hash, lines or time is no text');
  if (previous !== null && typeof previous !== 'string') return err('its previous is no hash');
  const payload = { stream, number, from, to, records, hash, lines, previous, time, last: last === true };
  const problem = problemOf(payload);
  if (problem !== undefined) return err(problem);
  return formatSealPayload(payload) === text ? ok(payload) : err('its payload is not written as seals are');
}

/** Takes exactly what formatSealLine writes, without the newline; says in words what is wrong with it. */
export function parseSealLine(text: string): Result<SealLine, string> {
  const jws = objectOf(text)?.jws;
  if (typeof jws !== 'string') return err('it has no JWS');
  const parsed = parseSealJws(jws);
  if (!parsed.ok) return parsed;
  const isOurs = formatSealLine(parsed.value.payload, jws) === `${text}\n`;
  return isOurs ? parsed : err('its line says something else than its JWS');
}

/** As parseSealLine, of the JWS alone. */
export function parseSealJws(jws: string): Result<SealLine, string> {
  const [header, body, signature, ...more] = jws.split('.');
  if (header === undefined || body === undefined || signature === undefined || more.length > 0)
    return err('its JWS has not three parts');
  // An unused bit of base64url could be altered without altering a byte that is signed.
  if (bytesOf(signature, SIGNATURE_BYTES) === undefined) return err('its signature is no signature');
  const headerText = textOf(header);
  const { alg, kid } = objectOf(headerText ?? '') ?? {};
  if ((alg !== 'EdDSA' && alg !== 'ES256') || typeof kid !== 'string')
    return err('its header names no algorithm of seals and key');
  if (bytesOf(kid, HASH_BYTES) === undefined || formatSealHeader(alg, kid) !== headerText)
    return err('its header is not written as seals are');
  const payloadText = textOf(body);
  if (payloadText === undefined) return err('its payload is not canonical base64url of UTF-8');
  const payload = parseSealPayload(payloadText);
  return payload.ok ? ok({ alg, kid, payload: payload.value, jws }) : payload;
}

function problemOf(payload: SealPayload): string | undefined {
  const { number, from, to, records, hash, lines, previous, time } = payload;
  if (to < from || records > to - from + 1) return 'its from, to and records contradict each other';
  if (bytesOf(hash, HASH_BYTES) === undefined) return 'its hash is no SHA-256';
  if (bytesOf(lines, CHECKSUM_BYTES * records) === undefined) return 'its lines are not one for each record';
  if (previous !== null && bytesOf(previous, HASH_BYTES) === undefined) return 'its previous is no SHA-256';
  if ((number === 1) !== (previous === null)) return 'only the first seal of a stream has no previous';
  if (number === 1 && from !== 1) return 'the first seal of a stream is from 1';
  if (!isTime(time)) return 'its time is no time';
  return undefined;
}

const streamText = ({ id, boot, worker }: StreamName): string =>
  `{"id":${JSON.stringify(id)},"boot":${JSON.stringify(boot)},"worker":${worker}}`;

/** A head is read back by its dots. */
const BOOT = /^[0-9A-Za-z_-]{1,64}$/;

function streamOf(value: unknown): StreamName | undefined {
  if (!isObject(value)) return undefined;
  const { id, boot, worker } = value;
  if (typeof id !== 'string' || typeof boot !== 'string' || !BOOT.test(boot)) return undefined;
  if (worker !== 0 && !isCount(worker)) return undefined;
  return { id, boot, worker };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 1;

function isTime(text: string): boolean {
  const ms = Date.parse(text);
  return !Number.isNaN(ms) && new Date(ms).toISOString() === text;
}

/** Canonical base64url of exactly so many bytes. */
function bytesOf(text: string, length: number): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.length === length && bytes.toString('base64url') === text ? bytes : undefined;
}

/** Canonical base64url of a text in UTF-8. */
function textOf(segment: string): string | undefined {
  const text = Buffer.from(segment, 'base64url').toString('utf8');
  return Buffer.from(text, 'utf8').toString('base64url') === segment ? text : undefined;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function objectOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
