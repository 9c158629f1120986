import { createHash } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import type { SealPayload } from './seal-line.js';

/** The newest seal of a stream as an auditor keeps it: with it a tail that was cut, or a stream that is missing, is found. */
export interface SealHead {
  readonly boot: string;
  readonly worker: number;
  /** Of the seal. */
  readonly number: number;
  /** Last sequence number that it covers. */
  readonly to: number;
  /** base64url SHA-256 of the seal's JWS. */
  readonly hash: string;
}

/** base64url SHA-256 of a JWS: what the next seal and a head call a seal by. */
export const sealHash = (jws: string): string =>
  createHash('sha256').update(jws, 'ascii').digest('base64url');

/** `<boot>.<worker>.<number>.<to>.<hash>` */
export function formatHead({ stream, number, to }: SealPayload, jws: string): string {
  return `${stream.boot}.${stream.worker}.${number}.${to}.${sealHash(jws)}`;
}

const HEAD =
  /^([0-9A-Za-z_-]{1,64})\.(0|[1-9]\d{0,8})\.([1-9]\d{0,15})\.([1-9]\d{0,15})\.([0-9A-Za-z_-]{43})$/;

/** Takes exactly what formatHead writes. */
export function parseHead(text: string): Result<SealHead, string> {
  const [, boot, worker, number, to, hash] = HEAD.exec(text) ?? [];
  if (boot === undefined || hash === undefined)
    return err('not a head: it reads <boot>.<worker>.<number>.<to>.<hash>, as /snapshot shows it');
  // The last of 43 characters holds four bits; others than these are not written by anybody.
  if (Buffer.from(hash, 'base64url').toString('base64url') !== hash) return err('its hash is no SHA-256');
  return ok({ boot, worker: Number(worker), number: Number(number), to: Number(to), hash });
}
