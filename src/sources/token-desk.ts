import { formatAddress } from '../config/address.js';
import type { Address } from '../config/config.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import { err, type Result } from '../reasons.js';
import type { JwtSvidValidator, NotValidated } from './jwt-svid-validator.js';
import { remoteKeysOf, type TokenSources } from './token-sources.js';

/** Questions to the agent that are under way at once. Whoever sends tokens by the thousand must not make it fall over. */
const MAX_ASKED = 64;

/** What of the configuration in force is needed here. */
export interface TokenPlaces {
  readonly tokens: TokenSources;
  readonly agent: Address | undefined;
}

/** Asks elsewhere about tokens: an issuer for keys that are not there, the agent whether a JWT-SVID is good. */
export class TokenDesk {
  #agent: { readonly place: string; readonly validator: Promise<JwtSvidValidator> } | undefined;
  #asked = 0;
  #isClosed = false;

  constructor(readonly places: () => TokenPlaces | undefined) {}

  /** @param issuer name of the entry. @returns true where its keys are other ones now. */
  async refreshKeys(issuer: string): Promise<boolean> {
    const places = this.places();
    const keys = places && remoteKeysOf(places.tokens, issuer);
    return (await keys?.lookForKey()) ?? false;
  }

  /** The agent's word on a JWT-SVID (SPIFFE Workload API 6.3). */
  async validate(audience: string, token: string): Promise<Result<SpiffeId, NotValidated>> {
    const agent = this.places()?.agent;
    if (agent === undefined || this.#isClosed)
      return err({ kind: 'unsupported', message: 'no Workload API is configured' });
    if (this.#asked >= MAX_ASKED)
      return err({ kind: 'unavailable', message: `the agent has ${MAX_ASKED} questions to answer already` });
    this.#asked++;
    try {
      return await (await this.#validatorAt(agent)).validate(audience, token);
    } finally {
      this.#asked--;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #validatorAt(agent: Address): Promise<JwtSvidValidator> {
    const place = formatAddress(agent);
    if (this.#agent?.place !== place) {
      this.#drop(); // questions to the one before have their deadline
      this.#agent = { place, validator: openValidator(agent) };
    }
    return this.#agent.validator;
  }

  #drop(): void {
    void this.#agent?.validator.then((validator) => validator.close());
    this.#agent = undefined;
  }
}

async function openValidator(agent: Address): Promise<JwtSvidValidator> {
  const { JwtSvidValidator } = await import('./jwt-svid-validator.js'); // gRPC takes a fifth of a second to load
  return new JwtSvidValidator(agent);
}
