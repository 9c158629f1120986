import { isIpv6, networkOf } from './signal-network.js';

/** Keys that no open connection uses are remembered up to here, those seen last: another ID may come with one. */
const CAPACITY = 8192;
/** With each new key so many of those seen longest ago are looked at. */
const LOOKED_AT = 4;
/** An ID is one of a key's for so long after it was seen with it. */
const REMEMBERED_MS = 86_400_000;
/** No key has more; of one that does, the ID that came first is forgotten. */
const MAX_IDS = 256;

interface IdUse {
  /** Open connections. */
  open: number;
  /** When one was opened or closed last. */
  lastMs: number;
}

interface AddressUse {
  readonly network: string;
  /** Open connections. */
  open: number;
}

/** One key of callers that were let in: from where it is in use at this moment, and as whose. */
export class KeyUse {
  /** Open connections. */
  open = 0;
  readonly #addresses = new Map<string, AddressUse>();
  /** Addresses in use, by the network that counts as one place. */
  readonly #networks = new Map<string, number>();
  #ipv6Networks = 0;
  readonly #ids = new Map<string, IdUse>();

  constructor(readonly sha256: string) {}

  /** A host has an IPv4 and an IPv6 address as a rule: each kind is counted for itself, and the larger number counts. */
  get places(): number {
    return Math.max(this.#ipv6Networks, this.#networks.size - this.#ipv6Networks);
  }

  /** How many addresses open connections come from. */
  get addressCount(): number {
    return this.#addresses.size;
  }

  /** The first of them. */
  addresses(most: number): readonly string[] {
    const listed: string[] = [];
    for (const address of this.#addresses.keys()) {
      if (listed.length === most) break;
      listed.push(address);
    }
    return listed;
  }

  /** Seen with it within a day. */
  idsAt(nowMs: number): readonly string[] {
    return [...this.#ids].filter(([, use]) => isRemembered(use, nowMs)).map(([id]) => id);
  }

  get hasSeveralIds(): boolean {
    return this.#ids.size > 1;
  }

  opened(id: string, address: string, privatePrefix: number, nowMs: number): void {
    this.open++;
    this.#openedAs(id, nowMs);
    const known = this.#addresses.get(address);
    if (known !== undefined) known.open++;
    else {
      const network = networkOf(address, privatePrefix);
      if (network === undefined) return;
      this.#addresses.set(address, { network, open: 1 });
      const before = this.#networks.get(network) ?? 0;
      this.#networks.set(network, before + 1);
      if (before === 0 && isIpv6(network)) this.#ipv6Networks++;
    }
  }

  closed(id: string, address: string, nowMs: number): void {
    this.open--;
    const as = this.#ids.get(id);
    if (as !== undefined) {
      as.open--;
      as.lastMs = nowMs;
    }
    const known = this.#addresses.get(address);
    if (known === undefined || --known.open > 0) return;
    this.#addresses.delete(address);
    const left = (this.#networks.get(known.network) ?? 1) - 1;
    if (left > 0) this.#networks.set(known.network, left);
    else {
      this.#networks.delete(known.network);
      if (isIpv6(known.network)) this.#ipv6Networks--;
    }
  }

  #openedAs(id: string, nowMs: number): void {
    const known = this.#ids.get(id);
    if (known !== undefined) {
      known.open++;
      known.lastMs = nowMs;
      return;
    }
    for (const [other, use] of this.#ids)
      if (this.#ids.size >= MAX_IDS || !isRemembered(use, nowMs)) this.#ids.delete(other);
    this.#ids.set(id, { open: 1, lastMs: nowMs });
  }
}

const isRemembered = ({ open, lastMs }: IdUse, nowMs: number): boolean =>
  open > 0 || nowMs - lastMs < REMEMBERED_MS;

/** Every key in use, and the last others. */
export class KeyUses {
  readonly #uses = new Map<string, KeyUse>();

  constructor(readonly capacity = CAPACITY) {}

  get size(): number {
    return this.#uses.size;
  }

  of(sha256: string): KeyUse {
    const known = this.#uses.get(sha256);
    if (known === undefined) this.#makeRoom();
    const use = known ?? new KeyUse(sha256);
    this.#uses.delete(sha256); // seen last stands last
    this.#uses.set(sha256, use);
    return use;
  }

  /** Those in use stay, however many they are: connections are limited elsewhere. */
  #makeRoom(): void {
    let left = this.#uses.size < this.capacity ? 0 : LOOKED_AT;
    for (const [sha256, use] of this.#uses) {
      if (left-- <= 0) return;
      this.#uses.delete(sha256);
      if (use.open > 0) this.#uses.set(sha256, use);
    }
  }
}
