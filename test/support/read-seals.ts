import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { compactVerify, createLocalJWKSet, type JSONWebKeySet } from 'jose';

interface Chain {
  number: number;
  to: number;
  previous: string | null;
  hash: ReturnType<typeof createHash>;
  open: number;
  kids: string[];
  hasEnded: boolean;
  /** Text of the newest head. */
  head: string;
}

interface Payload {
  readonly number: number;
  readonly from: number;
  readonly to: number;
  readonly records: number;
  readonly hash: string;
  readonly previous: string | null;
  readonly last?: true;
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url');

/** Checks every seal in these files by jose and node:crypto alone. @returns by `boot.worker` how far each stream is sealed */
export async function readSeals(
  files: readonly string[],
  jwks: JSONWebKeySet,
): Promise<ReadonlyMap<string, Chain>> {
  const keys = createLocalJWKSet(jwks);
  const chains = new Map<string, Chain>();
  for (const line of files.flatMap((text) => text.split('\n').slice(0, -1))) {
    const record = JSON.parse(line) as Record<string, unknown> & {
      readonly stream: { readonly boot: string; readonly worker: number };
    };
    const key = `${record.stream.boot}.${record.stream.worker}`;
    const chain = chains.get(key) ?? {
      number: 0,
      to: 0,
      previous: null,
      hash: createHash('sha256'),
      open: 0,
      kids: [],
      hasEnded: false,
      head: '',
    };
    chains.set(key, chain);
    assert.equal(chain.hasEnded, false, `nothing follows the last seal: ${line}`);
    if (record.event !== 'audit.seal') {
      chain.open++;
      chain.hash.update(`${line}\n`);
      continue;
    }
    const jws = String(record.jws);
    const { payload, protectedHeader } = await compactVerify(jws, keys);
    const seal = JSON.parse(Buffer.from(payload).toString()) as Payload;
    assert.equal(seal.number, chain.number + 1);
    assert.equal(seal.from, chain.to + 1);
    assert.equal(seal.records, chain.open);
    assert.equal(seal.hash, chain.hash.digest('base64url'));
    assert.equal(seal.previous, chain.previous);
    chain.number = seal.number;
    chain.to = seal.to;
    chain.previous = sha256(jws);
    chain.hash = createHash('sha256');
    chain.open = 0;
    chain.kids.push(String(protectedHeader.kid));
    chain.hasEnded = seal.last === true;
    chain.head = `${key}.${seal.number}.${seal.to}.${sha256(jws)}`;
  }
  return chains;
}
