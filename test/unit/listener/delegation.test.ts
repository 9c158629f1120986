import t from 'tap';
import { parseKeySet } from '../../../src/identity/key-set.js';
import { type PrincipalId, parsePrincipalId } from '../../../src/identity/principal-id.js';
import { createRevocationList, type RevocationEntry } from '../../../src/identity/revocation.js';
import type { VerifiedToken } from '../../../src/identity/token.js';
import type { AssertionIssuer } from '../../../src/identity/token-issuer.js';
import type { TrustedIssuer } from '../../../src/identity/token-trust.js';
import { HeldDelegation } from '../../../src/listener/delegation.js';
import { takeDelegation } from '../../../src/listener/delegation-claim.js';
import { DelegationIndex } from '../../../src/listener/delegation-index.js';
import type { Exchange } from '../../../src/listener/exchange.js';
import type { RequestHead } from '../../../src/message/request-head.js';
import type { Delegation } from '../../../src/policy/delegation.js';
import { parsePrincipalPattern } from '../../../src/policy/pattern.js';
import { compileRegistry } from '../../../src/policy/registry.js';
import type { Snapshot } from '../../../src/snapshot.js';
import { AssertionSigner } from '../../support/assertion-signer.js';

const NOW = 1_700_000_000_000;
const ALICE = 'spiffe://a.test/alice';
const BOB = 'spiffe://a.test/bob';
const GATEWAY = 'spiffe://a.test/gateway';
const ENVOY = 'spiffe://a.test/envoy';

const idOf = (text: string): PrincipalId => {
  const id = parsePrincipalId(text);
  if (!id.ok) throw new Error(id.error);
  return id.value;
};

const issuer: AssertionIssuer = {
  kind: 'assertion',
  name: `assertion:${GATEWAY}`,
  audiences: ['gateway'],
  clockSkewMs: 0,
  maxLifetimeMs: 3_600_000,
  requiresBinding: false,
  isOneTime: false,
  issuer: GATEWAY,
  presenter: GATEWAY,
};
const signer = await AssertionSigner.create();
const newer = await AssertionSigner.create('k2');
const assertion = (claims: object = {}, by = signer) =>
  by.sign({ iss: GATEWAY, aud: 'gateway', sub: ALICE, ...claims }, {}, NOW);

interface Parts {
  readonly keys?: readonly AssertionSigner[];
  readonly issuer?: AssertionIssuer;
  readonly revoked?: readonly RevocationEntry[];
  readonly depth?: number;
  readonly delegates?: readonly object[];
  readonly registry?: Snapshot['policy']['registry'];
  readonly cached?: number;
}

/** Of a snapshot as much as delegation looks at. */
function snapshotOf(parts: Parts = {}): Snapshot {
  const { revoked = [], depth = 3, registry, cached = 100 } = parts;
  const keys = parseKeySet(
    Buffer.from(JSON.stringify({ keys: (parts.keys ?? [signer]).map(({ jwk }) => jwk) })),
  );
  if (!keys.ok) throw new Error(keys.error);
  const trusted: TrustedIssuer = { issuer: parts.issuer ?? issuer, keys: keys.value, stale: undefined };
  const delegates = parts.delegates ?? [
    { id: idOf(GATEWAY), by: { kind: 'assertion' } },
    { id: idOf(ENVOY), by: { kind: 'xfcc' } },
  ];
  return {
    config: { limits: { delegationDepth: depth, tokens: cached }, trustedPeers: { delegates } },
    tokens: { issuers: [], delegates: new Map([[GATEWAY, trusted]]) },
    bundles: new Map(),
    revocations: createRevocationList(revoked, 'r'),
    policy: { registry },
  } as unknown as Snapshot;
}

interface Asked {
  readonly peer?: string;
  readonly assertion?: readonly string[];
  readonly xfcc?: readonly string[];
  readonly mode?: 'off' | 'accept' | 'require';
  readonly token?: Partial<VerifiedToken>;
  readonly isNamedByToken?: boolean;
  readonly direction?: 'inbound' | 'outbound';
}

/** A caller with what it says, and whoever judges it. */
class Call {
  readonly exchange: Exchange;
  readonly head: RequestHead;
  readonly index: DelegationIndex;
  nowMs = NOW;
  refreshed: string[] = [];
  counted: string[] = [];
  told: object[] = [];
  onRefresh: () => boolean | Promise<boolean> = () => false;

  constructor(
    readonly asked: Asked,
    public snapshot: Snapshot = snapshotOf(),
  ) {
    const clock = { nowMs: () => this.nowMs };
    const { peer = GATEWAY, token, isNamedByToken = false, direction = 'inbound' } = asked;
    const holder = {
      get current(): Snapshot {
        return call.snapshot;
      },
    };
    const call = this;
    const authority = {
      refreshKeys: async (name: string) => {
        this.refreshed.push(name);
        return this.onRefresh();
      },
      validate: () => Promise.reject(new Error('no assertion is the agent’s to judge')),
    };
    this.index = new DelegationIndex({
      snapshots: holder,
      authority,
      clock,
      diagnostics: {
        info: () => undefined,
        warn: () => undefined,
        error: (detail) => this.told.push(detail),
      },
      metrics: { countVerification: (kind, result) => this.counted.push(`${kind} ${result}`) },
    });
    const named = token?.actor ?? token?.principal;
    this.exchange = {
      connection: { direction, credential: { svid: { id: idOf(peer) } } },
      listener: { clock, delegations: this.index, snapshots: holder },
      token: token && { token },
      caller: isNamedByToken ? named : idOf(peer),
      isNamedByToken,
    } as unknown as Exchange;
    this.head = {
      received: { saysOfOthers: { assertion: asked.assertion, clientCertificate: asked.xfcc } },
    } as unknown as RequestHead;
  }

  async take(): Promise<string> {
    const route = { delegation: this.asked.mode ?? 'accept' } as never;
    for (let i = 0; i < 3; i++) {
      const answer = takeDelegation(this.exchange, this.head, route, this.snapshot);
      if (answer === undefined) return this.said;
      if ('reason' in answer) return answer.reason;
      await answer.prove();
    }
    return 'never proven';
  }

  /** As `subject < actor < … by`. */
  get said(): string {
    const { delegation } = this.exchange;
    if (delegation === undefined) return 'itself';
    const { subject, through, by } = delegation.delegation;
    return `${[subject.uri, ...through].join(' < ')} by ${by}`;
  }
}

const take = (asked: Asked, snapshot?: Snapshot): Promise<string> => new Call(asked, snapshot).take();
const tokenOf = (of: Partial<VerifiedToken>): Partial<VerifiedToken> => ({
  principal: idOf('ci:alice'),
  through: [],
  notBeforeMs: 0,
  notAfterMs: NOW + 60_000,
  ...of,
});

t.test('a forwarded assertion says on whose behalf its presenter asks', async (t) => {
  t.equal(await take({ assertion: [await assertion()] }), `${ALICE} by assertion`);
  const act = { sub: BOB, act: { sub: 'ci:octo/app' } };
  t.equal(
    await take({ assertion: [await assertion({ act })] }),
    `${ALICE} < ci:octo/app < ${BOB} by assertion`,
  );
  t.equal(await take({}), 'itself', 'nothing is said');
});

t.test('what cannot be verified is refused, and never the caller’s own call', async (t) => {
  const other = await AssertionSigner.create();
  const cases: readonly (readonly [string, Asked])[] = [
    ['another key', { assertion: [await assertion({}, other)] }],
    ['another audience', { assertion: [await assertion({ aud: 'billing' })] }],
    ['over', { assertion: [await assertion({ exp: NOW / 1000 })] }],
    ['no token at all', { assertion: ['spiffe://a.test/alice'] }],
    ['empty', { assertion: [''] }],
    ['two lines', { assertion: [await assertion(), await assertion()] }],
    ['the same line twice', { assertion: Array(2).fill(await assertion()) }],
  ];
  for (const [what, asked] of cases) t.equal(await take(asked), 'delegation_untrusted', what);
});

t.test('only the one header that the configuration names for this very peer counts', async (t) => {
  const text = await assertion();
  const xfcc = [`By=${GATEWAY};URI=${ALICE}`];
  t.equal(await take({ xfcc }), 'itself', 'XFCC of a peer whose assertion counts');
  t.equal(
    await take({ peer: ENVOY, assertion: [text] }),
    'itself',
    'an assertion of a peer whose XFCC counts',
  );
  t.equal(
    await take({ peer: BOB, assertion: [text], xfcc }),
    'itself',
    'a peer whose word counts for nothing',
  );
  t.equal(await take({ peer: BOB, assertion: [text], mode: 'require' }), 'delegation_missing');
  t.equal(await take({ assertion: [text], direction: 'outbound' }), 'itself', 'a workload beside us');
  t.equal(await take({ assertion: ['bad'], mode: 'off' }), 'itself', 'where nobody looks at it');
});

t.test('another peer that shows it is not believed', async (t) => {
  const delegates = [
    { id: idOf(GATEWAY), by: { kind: 'assertion' } },
    { id: idOf(BOB), by: { kind: 'assertion' } },
  ];
  const thief = new Call({ peer: BOB, assertion: [await assertion()] }, snapshotOf({ delegates }));
  t.equal(await thief.take(), 'token_unverifiable', 'its own issuer has no keys here');
  const trusted = thief.snapshot.tokens.delegates.get(GATEWAY)!;
  const both = { ...thief.snapshot, tokens: { issuers: [], delegates: new Map([[BOB, trusted]]) } };
  t.equal(await take({ peer: BOB, assertion: [await assertion()] }, both), 'delegation_untrusted');
});

t.test('where it is demanded, a call of one’s own is refused', async (t) => {
  t.equal(await take({ mode: 'require' }), 'delegation_missing');
  const own = [await assertion({ sub: GATEWAY })];
  t.equal(await take({ assertion: own, mode: 'require' }), 'delegation_missing', 'for itself, by itself');
  t.equal(await take({ assertion: own }), 'itself');
  const round = [await assertion({ sub: GATEWAY, act: { sub: BOB } })];
  t.equal(
    await take({ assertion: round }),
    `${GATEWAY} < ${BOB} by assertion`,
    'not where another had it called',
  );
  t.equal(await take({ assertion: [await assertion()], mode: 'require' }), `${ALICE} by assertion`);
});

t.test('of XFCC the last element counts, which is the peer’s own word', async (t) => {
  const ask = (...xfcc: string[]) => take({ peer: ENVOY, xfcc });
  t.equal(await ask(`By=${ENVOY};URI=${ALICE}`), `${ALICE} by xfcc`);
  t.equal(await ask(`URI=${ALICE}`), `${ALICE} by xfcc`, 'By may be left out');
  t.equal(await ask(`By=${BOB};URI=spiffe://a.test/first,By=${ENVOY};URI=${ALICE}`), `${ALICE} by xfcc`);
  t.equal(
    await ask(`URI=spiffe://a.test/first`, `URI=${ALICE}`),
    `${ALICE} by xfcc`,
    'several lines are one list',
  );
  const cases: readonly (readonly [string, ...string[]])[] = [
    ['by another', `By=${BOB};URI=${ALICE}`],
    ['by the peer and another', `By=${ENVOY};By=${BOB};URI=${ALICE}`],
    ['two URIs', `URI=${ALICE};URI=${BOB}`],
    ['no URI', `By=${ENVOY};Hash=00`],
    ['a URI in an earlier element alone', `URI=${ALICE},Hash=00`],
    ['no SPIFFE ID', 'URI=https://a.test/alice'],
    ['a name of another namespace', 'URI=ci:alice'],
    ['a quote that stays open', `URI=${ALICE};Subject="CN=x`],
    ['empty', ''],
    ['one thing twice', `URI=${ALICE};Hash=00;Hash=11`],
  ];
  for (const [what, ...xfcc] of cases) t.equal(await ask(...xfcc), 'delegation_untrusted', what);
  const long = Array(4).fill(`URI=${ALICE}`).join();
  t.equal(await ask(long), 'delegation_too_deep', 'the hops before count for the depth');
});

t.test('a token that names another than its bearer makes the call one for that other', async (t) => {
  const beside = (of: Partial<VerifiedToken>, more: Asked = {}) => take({ token: tokenOf(of), ...more });
  t.equal(await beside({}), 'ci:alice by token');
  t.equal(await beside({}, { mode: 'off' }), 'ci:alice by token', 'also where headers are not looked at');
  t.equal(await beside({}, { mode: 'require' }), 'ci:alice by token');
  t.equal(await beside({ principal: idOf(GATEWAY) }), 'itself', 'it only says again who calls');
  t.equal(await beside({ actorSub: GATEWAY, through: [BOB] }), `ci:alice < ${BOB} by token`);
  t.equal(await beside({ actorSub: BOB }), 'delegation_untrusted', 'for the hands of another');
  t.equal(await beside({ principal: idOf(GATEWAY), actorSub: BOB }), 'delegation_untrusted');
  t.equal(
    await beside({ actorSub: `${GATEWAY}/` }),
    'delegation_untrusted',
    'byte for byte, not the same but for a slash',
  );
});

t.test('a token alone names who acts, and for whom', async (t) => {
  const alone = (of: Partial<VerifiedToken>, more: Asked = {}) =>
    take({ token: tokenOf(of), isNamedByToken: true, ...more });
  t.equal(await alone({}), 'itself');
  t.equal(await alone({}, { mode: 'require' }), 'delegation_missing');
  const actor = { actor: idOf('ci:svc'), actorSub: 'svc' };
  t.equal(await alone(actor), 'ci:alice by token');
  t.equal(await alone({ ...actor, through: ['ci:b'] }), 'ci:alice < ci:b by token');
  t.equal(await alone(actor, { assertion: [await assertion()] }), 'delegation_untrusted', 'and a header too');
  t.equal(
    await alone({}, { assertion: [await assertion()] }),
    'delegation_untrusted',
    'what the certificate’s workload says is not the token’s to say',
  );
});

t.test('two things that say for whom are one too many', async (t) => {
  const text = await assertion();
  t.equal(await take({ token: tokenOf({}), assertion: [text] }), 'delegation_untrusted');
  const same = tokenOf({ principal: idOf(ALICE) });
  t.equal(
    await take({ token: same, assertion: [text] }),
    'delegation_untrusted',
    'even where they say the same',
  );
  const confirmed = tokenOf({ principal: idOf(GATEWAY) });
  t.equal(await take({ token: confirmed, assertion: [text] }), `${ALICE} by assertion`);
});

t.test('more actors than the limit are too many, whatever says so', async (t) => {
  const act = { sub: BOB, act: { sub: BOB, act: { sub: BOB } } };
  const deep = [await assertion({ act })];
  t.equal(await take({ assertion: deep }), 'delegation_too_deep');
  t.equal(
    await take({ assertion: deep }, snapshotOf({ depth: 4 })),
    `${ALICE} < ${BOB} < ${BOB} < ${BOB} by assertion`,
  );
  t.equal(
    await take({ assertion: [await assertion({ act: { sub: BOB } })] }, snapshotOf({ depth: 1 })),
    'delegation_too_deep',
  );
  t.equal(await take({ assertion: [await assertion()] }, snapshotOf({ depth: 1 })), `${ALICE} by assertion`);
  t.equal(await take({ token: tokenOf({ through: [BOB, BOB, BOB] }) }), 'delegation_too_deep');
});

t.test('whoever is revoked has nobody call for it, and passes nothing on', async (t) => {
  const act = { sub: BOB };
  const reason = 'leaked';
  const cases: readonly (readonly [string, RevocationEntry, string])[] = [
    ['the subject', { id: ALICE, reason }, 'delegation_untrusted'],
    ['an actor', { id: BOB, reason }, 'delegation_untrusted'],
    ['all of a path', { idPrefix: 'spiffe://a.test/bob', reason }, 'delegation_untrusted'],
    ['a neighbour', { idPrefix: 'spiffe://a.test/bo', reason }, `${ALICE} < ${BOB} by assertion`],
    ['before it was issued', { id: ALICE, reason, issuedBefore: NOW }, `${ALICE} < ${BOB} by assertion`],
    ['when it was issued', { id: ALICE, reason, issuedBefore: NOW + 1000 }, 'delegation_untrusted'],
  ];
  for (const [what, entry, said] of cases)
    t.equal(
      await take({ assertion: [await assertion({ act })] }, snapshotOf({ revoked: [entry] })),
      said,
      what,
    );

  const hash = 'ab'.repeat(32);
  const byHash = snapshotOf({ revoked: [{ sha256: hash, reason }] });
  const cnf = { 'x5t#S256': Buffer.from(hash, 'hex').toString('base64url') };
  t.equal(
    await take({ assertion: [await assertion({ cnf })] }, byHash),
    'delegation_untrusted',
    'its certificate',
  );
  t.equal(await take({ peer: ENVOY, xfcc: [`Hash=${hash};URI=${ALICE}`] }, byHash), 'delegation_untrusted');
  t.equal(
    await take({ peer: ENVOY, xfcc: [`Hash=${'cd'.repeat(32)};URI=${ALICE}`] }, byHash),
    `${ALICE} by xfcc`,
  );
  const reissued = snapshotOf({ revoked: [{ id: ALICE, reason, issuedBefore: NOW - 1 }] });
  t.equal(
    await take({ peer: ENVOY, xfcc: [`URI=${ALICE}`] }, reissued),
    'delegation_untrusted',
    'XFCC does not tell when its certificate was issued',
  );
});

t.test('an assertion is verified once, and what is true now decides each time', async (t) => {
  const text = await assertion();
  const call = new Call({ assertion: [text] });
  t.equal(await call.take(), `${ALICE} by assertion`);
  const held = call.exchange.delegation;
  t.match(call.index.memory, { verified: 1, refused: 0 });
  t.equal(await call.take(), `${ALICE} by assertion`);
  t.equal(call.exchange.delegation, held, 'the same one');
  call.nowMs = NOW + 59_999;
  t.equal(await call.take(), `${ALICE} by assertion`);
  call.nowMs = NOW + 60_000;
  t.equal(await call.take(), 'delegation_untrusted', 'its end');
  call.nowMs = NOW;
  call.snapshot = snapshotOf({ revoked: [{ id: ALICE, reason: 'x', at: NOW + 10 }] });
  t.equal(await call.take(), `${ALICE} by assertion`);
  call.nowMs = NOW + 10;
  t.equal(await call.take(), 'delegation_untrusted', 'a revocation that comes into force');
  call.snapshot = snapshotOf({ keys: [newer] });
  t.equal(await call.take(), 'delegation_untrusted', 'its key is gone');
  call.snapshot = snapshotOf({ keys: [newer, signer] });
  t.equal(await call.take(), `${ALICE} by assertion`, 'the key is back');
  call.snapshot = snapshotOf({ issuer: { ...issuer, audiences: ['other'] } });
  t.equal(await call.take(), 'delegation_untrusted', 'it is meant for us no more');
  call.snapshot = snapshotOf({ issuer: { ...issuer, audiences: ['other', 'gateway'] } });
  t.equal(await call.take(), `${ALICE} by assertion`, 'by rules that are others and take it');
  call.snapshot = snapshotOf({ delegates: [] });
  t.match(
    held?.judge(call.snapshot, call.nowMs),
    { reason: 'delegation_untrusted' },
    'its peer is believed no more',
  );
  call.snapshot = snapshotOf({ delegates: [{ id: idOf(GATEWAY), by: { kind: 'xfcc' } }] });
  t.match(held?.judge(call.snapshot, call.nowMs), { reason: 'delegation_untrusted' }, 'or by its XFCC alone');
});

t.test('a key that is not known is asked for once, and then the assertion is verified again', async (t) => {
  const text = await assertion({}, newer);
  const call = new Call({ assertion: [text] });
  call.onRefresh = () => {
    call.snapshot = snapshotOf({ keys: [newer] });
    return true;
  };
  t.equal(await call.take(), `${ALICE} by assertion`);
  t.same(call.refreshed, [`assertion:${GATEWAY}`]);

  const none = new Call({ assertion: [text] });
  t.equal(await none.take(), 'delegation_untrusted');
  t.equal(none.refreshed.length, 1);
  t.match(none.index.memory, { verified: 0, refused: 1 }, 'what was refused is kept for a moment alone');
});

t.test('however many ask at once, an assertion is verified once; only so many are kept', async (t) => {
  const call = new Call({}, snapshotOf({ cached: 3 }));
  const peer = idOf(GATEWAY);
  const text = await assertion();
  const first = call.index.verify(peer, text);
  t.equal(call.index.verify(peer, text), first);
  await first;
  for (let i = 0; i < 5; i++) t.equal((await call.index.verify(peer, await assertion())).ok, true);
  t.match(call.index.memory, { verified: 3, refused: 0 });
  t.equal(call.index.find(peer, text, call.snapshot, NOW), undefined, 'the oldest has gone');
});

t.test(
  'what was refused is refused again for a second without being looked at, in this peer’s hands',
  async (t) => {
    const bad = await assertion({}, await AssertionSigner.create());
    const call = new Call({ assertion: [bad] });
    const find = (nowMs: number, peer = GATEWAY) => call.index.find(idOf(peer), bad, call.snapshot, nowMs);
    for (let i = 0; i < 3; i++) t.equal(await call.take(), 'delegation_untrusted');
    const another = new Call({ assertion: [bad] });
    Object.assign(another.exchange.listener, { delegations: call.index, clock: { nowMs: () => NOW } });
    another.snapshot = call.snapshot;
    t.equal(await another.take(), 'delegation_untrusted');
    t.same(call.counted, ['assertion refused'], 'another request with it costs a look-up');
    t.equal(another.exchange.claim, undefined, 'and waits for nothing');
    t.match(find(NOW + 999), { ok: false, error: { reason: 'delegation_untrusted' } });
    t.equal(find(NOW + 1000), undefined);
    t.equal(find(NOW, BOB), undefined, 'another peer is told by its own keys');
    call.snapshot = snapshotOf();
    t.equal(find(NOW), undefined, 'nor is it under another snapshot');
  },
);

t.test('a peer that floods with bad assertions has four verified at once, and a thousand wait', async (t) => {
  const other = await AssertionSigner.create();
  const bad = await Promise.all(Array.from({ length: 1200 }, () => assertion({}, other)));
  const call = new Call({});
  const { subtle } = globalThis.crypto;
  const verify = subtle.verify.bind(subtle);
  const spent = { now: 0, most: 0, all: 0 };
  t.teardown(() => Reflect.deleteProperty(subtle, 'verify')); // that of the prototype stands again
  Object.defineProperty(subtle, 'verify', {
    configurable: true,
    value: async (...args: Parameters<typeof verify>) => {
      spent.all++;
      spent.most = Math.max(spent.most, ++spent.now);
      return verify(...args).finally(() => spent.now--);
    },
  });
  const answers = await Promise.all(bad.map((text) => call.index.verify(idOf(GATEWAY), text)));
  const reasons = answers.map((answer) => (answer.ok ? 'ok' : answer.error.reason));
  t.equal(reasons.filter((reason) => reason === 'delegation_untrusted').length, 1004);
  t.equal(reasons.filter((reason) => reason === 'token_unverifiable').length, 196, 'the others cost nothing');
  t.same(spent, { now: 0, most: 4, all: 1004 });
  t.match(call.index.memory, { verified: 0, refused: 1000 });
  t.match(await call.index.verify(idOf(GATEWAY), await assertion()), { ok: true }, 'and it is over');
});

t.test('no more than a hundred assertions wait for newer keys', async (t) => {
  const call = new Call({});
  let answer: (isNew: boolean) => void = () => undefined;
  const keys = new Promise<boolean>((resolve) => (answer = resolve));
  call.onRefresh = () => keys;
  const unknown = await Promise.all(Array.from({ length: 101 }, () => assertion({}, newer)));
  const verifying = unknown.map((text) => call.index.verify(idOf(GATEWAY), text));
  const excess = await Promise.race(verifying);
  t.match(excess, { ok: false, error: { reason: 'token_unverifiable' } });
  t.equal(call.refreshed.length, 100);
  answer(false);
  const reasons = (await Promise.all(verifying)).map((result) => (result.ok ? 'ok' : result.error.reason));
  t.equal(reasons.filter((reason) => reason === 'delegation_untrusted').length, 100);
});

t.test('a verification that breaks is a no that says so, not the end of the process', async (t) => {
  const call = new Call({ assertion: [await assertion({}, newer)] });
  call.onRefresh = () => Promise.reject(new Error('broken'));
  t.equal(await call.take(), 'token_unverifiable');
  t.match(call.told, [{ err: { message: 'broken' } }]);
  t.same(call.counted, ['assertion unverifiable']);
});

t.test('records say for whom, by what, and through whom, with the owner of the subject', (t) => {
  const delegation: Delegation = { subject: idOf(ALICE), through: [BOB], by: 'xfcc' };
  const held = new HeldDelegation(delegation, idOf(ENVOY), undefined, undefined);
  t.same(held.fields(snapshotOf()), {
    id: ALICE,
    trustDomain: 'a.test',
    by: 'xfcc',
    actors: [BOB, ENVOY],
    issuer: undefined,
    jti: undefined,
  });
  const pattern = parsePrincipalPattern(ALICE);
  if (!pattern.ok) throw new Error(pattern.error);
  const unsaid = { environment: undefined, contact: undefined, purpose: undefined };
  const registry = compileRegistry({
    unregistered: 'flag',
    entries: [{ pattern: pattern.value, owner: 'team-a', ...unsaid }],
  });
  t.match(held.fields(snapshotOf({ registry })), { owner: 'team-a', registered: true });
  const other = new HeldDelegation(
    { ...delegation, subject: idOf('ci:x') },
    idOf(ENVOY),
    undefined,
    undefined,
  );
  t.match(other.fields(snapshotOf({ registry })), {
    trustDomain: 'ci:',
    owner: undefined,
    registered: false,
  });
  t.end();
});
