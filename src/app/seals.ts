import type { SealKey } from '../audit/seal-key.js';
import type { StreamName } from '../audit/seal-line.js';
import { jwksOf, type PublicSigningKey } from '../identity/signing-key.js';
import { Sealer, type ShownHead } from '../telemetry/sealer.js';

export interface SealsOptions {
  readonly stream: StreamName;
  readonly everyMs: number;
  /** Where the key is that is in force. */
  readonly source: { readonly value: SealKey | undefined };
  readonly nowMs: () => number;
}

/** What /snapshot says of evidence. */
export interface AuditView {
  /** The key that signs; left out where nothing is sealed. */
  readonly seal?: { readonly kid: string | undefined; readonly everyMs: number };
  /** Of each stream, a text that an auditor can keep: `audit verify --expect-head`. */
  readonly heads: readonly HeadView[];
}

export interface HeadView extends Partial<ShownHead> {
  readonly stream: StreamName;
  /** Records that are not sealed yet. */
  readonly unsealed: number;
}

/** The seals of one process: its sealer, the keys it used, and how far its stream is sealed. */
export class Seals {
  readonly sealer: Sealer;
  readonly #used = new Map<string, PublicSigningKey>();

  constructor(readonly options: SealsOptions) {
    const { stream, everyMs, nowMs } = options;
    this.sealer = new Sealer(stream, { everyMs, nowMs, key: () => this.#key() });
  }

  /** The one in force first, then all that were used since the start: what they signed must stay verifiable. */
  get keys(): readonly PublicSigningKey[] {
    const current = this.options.source.value?.publicKey;
    return jwksOf([...(current === undefined ? [] : [current]), ...this.#used.values()]).keys;
  }

  get heads(): readonly ShownHead[] {
    const { head } = this.sealer;
    return head === undefined ? [] : [head];
  }

  describe(): AuditView {
    const { stream, everyMs, source } = this.options;
    const { head, unsealed } = this.sealer;
    return { seal: { kid: source.value?.kid, everyMs }, heads: [{ stream, ...head, unsealed }] };
  }

  #key(): SealKey {
    const key = this.options.source.value;
    if (key === undefined) throw new Error('there is no key to sign with');
    this.#used.set(key.kid, key.publicKey);
    return key;
  }
}

/** As one process would show it: the streams of all. */
export function mergeAuditViews(views: readonly AuditView[]): AuditView {
  const seal = views.find((view) => view.seal !== undefined)?.seal;
  return { ...(seal && { seal }), heads: views.flatMap(({ heads }) => heads) };
}
