import { generateKeyPairSync } from 'node:crypto';
import { decodeJwt } from 'jose';
import t from 'tap';
import type { RouteConfig } from '../../../src/config/config.js';
import type { AssertionPlan } from '../../../src/identity/assertion-claims.js';
import { parseAssertionKeys } from '../../../src/identity/assertion-key.js';
import { type PrincipalId, parsePrincipalId } from '../../../src/identity/principal-id.js';
import { Assertions } from '../../../src/listener/assertions.js';
import type { Exchange } from '../../../src/listener/exchange.js';
import { Ids } from '../../../src/listener/ids.js';
import type { Snapshot } from '../../../src/snapshot.js';

function newPlan(audience: string | undefined = 'billing'): AssertionPlan {
  const { privateKey } = generateKeyPairSync('ed25519');
  const keys = parseAssertionKeys(Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' }))));
  if (!keys.ok) throw new Error(keys.error);
  return { signer: keys.value.signer, issuer: 'spiffe://a.test/proxy', lifetimeMs: 60_000, audience };
}

function id(text: string): PrincipalId {
  const parsed = parsePrincipalId(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

interface Credential {
  svid: { id: PrincipalId; leaf: { sha256: string }; notAfterMs: number };
}
const credentialOf = (name: string, notAfterMs = 4e12): Credential => ({
  svid: { id: id(`spiffe://a.test/${name}`), leaf: { sha256: 'ab'.repeat(32) }, notAfterMs },
});

/** Assertions of exchanges at a moment that the test says. */
class Desk {
  nowMs = 1_800_000_000_000;
  signed = 0;
  plan: AssertionPlan | undefined = newPlan();
  readonly assertions = new Assertions(new Ids(), () => {
    this.signed++;
  });

  find(exchange: object, route: Partial<RouteConfig> = {}): string | undefined {
    const listener = { clock: { nowMs: () => this.nowMs } };
    const whole = { connection: {}, ...exchange, listener } as unknown as Exchange;
    const snapshot = { assertions: this.plan } as Snapshot;
    return this.assertions.find(whole, snapshot, route as RouteConfig)?.text;
  }
}

const by = (credential: Credential, more: object = {}): object => ({
  connection: { credential },
  caller: credential.svid.id,
  ...more,
});
const forSubject = (
  subject: string,
  notAfterMs = Number.POSITIVE_INFINITY,
  through: string[] = [],
): object => ({
  delegation: { delegation: { subject: id(subject), through, by: 'xfcc' }, notAfterMs },
});

t.test(
  'each subject that a gateway acts for has an assertion of its own, however its claim is held',
  async (t) => {
    const desk = new Desk();
    const gateway = credentialOf('gw');
    const own = desk.find(by(gateway));
    const alice = desk.find(by(gateway, forSubject('ci:alice')));
    const bob = desk.find(by(gateway, forSubject('ci:bob')));
    const through = desk.find(by(gateway, forSubject('ci:bob', Number.POSITIVE_INFINITY, ['ci:alice'])));
    t.equal(new Set([own, alice, bob, through]).size, 4);
    t.equal(decodeJwt(own ?? '').sub, 'spiffe://a.test/gw');
    t.equal(decodeJwt(alice ?? '').sub, 'ci:alice');
    t.same(decodeJwt(through ?? '').act, { sub: 'spiffe://a.test/gw', act: { sub: 'ci:alice' } });
    t.equal(desk.find(by(gateway, forSubject('ci:alice'))), alice, 'another object that says the same');
    t.equal(desk.find(by(gateway)), own);
    t.equal(desk.signed, 4);
  },
);

t.test('tokens and certificates do not share: an end and a binding are those of each', async (t) => {
  const desk = new Desk();
  const [one, two] = [credentialOf('web'), credentialOf('web')];
  const token = { token: { notAfterMs: desk.nowMs + 30_000 } };
  const bound = desk.find(by(one, { token }));
  t.equal(decodeJwt(bound ?? '').exp, desk.nowMs / 1000 + 30, 'the end of the token');
  t.equal(decodeJwt(desk.find(by(one)) ?? '').exp, desk.nowMs / 1000 + 60);
  t.not(desk.find(by(two)), desk.find(by(one)));
  const alone = desk.find({ connection: {}, token, caller: id('ci:job') });
  t.equal(decodeJwt(alone ?? '').sub, 'ci:job');
  t.equal(decodeJwt(alone ?? '').cnf, undefined);
});

t.test('one that ends with a claim is made anew where a later claim lives longer', async (t) => {
  const desk = new Desk();
  const gateway = credentialOf('gw');
  const short = desk.find(by(gateway, forSubject('ci:a', desk.nowMs + 10_000)));
  t.equal(desk.find(by(gateway, forSubject('ci:a', desk.nowMs + 10_000))), short);
  desk.nowMs += 6000;
  t.equal(desk.find(by(gateway, forSubject('ci:a', desk.nowMs + 4000))), short, 'none could live longer');
  const long = desk.find(by(gateway, forSubject('ci:a', desk.nowMs + 40_000)));
  t.equal(decodeJwt(long ?? '').exp, desk.nowMs / 1000 + 40);
  t.not(desk.find(by(gateway, forSubject('ci:a', desk.nowMs + 5000))), long, 'nor one that lives too long');
});

t.test('a certificate whose path ends earlier than it did gets one that ends with it', async (t) => {
  const desk = new Desk();
  const credential = credentialOf('web');
  desk.find(by(credential));
  credential.svid = { ...credential.svid, notAfterMs: desk.nowMs + 7000 };
  t.equal(decodeJwt(desk.find(by(credential)) ?? '').exp, desk.nowMs / 1000 + 7);
});

t.test('another key, or none, is in force at once', async (t) => {
  const desk = new Desk();
  const web = credentialOf('web');
  const before = desk.find(by(web));
  desk.plan = newPlan();
  t.not(desk.find(by(web)), before);
  desk.plan = undefined;
  t.equal(desk.find(by(web)), undefined);
  desk.plan = { ...newPlan(), audience: undefined };
  t.equal(desk.find(by(web)), undefined, 'nobody named an audience');
  t.equal(decodeJwt(desk.find(by(web), { assertion: { audience: 'own' } }) ?? '').aud, 'own');
});

t.test('a gateway that acts for ever more subjects keeps no more than the last thousand', async (t) => {
  const desk = new Desk();
  const gateway = credentialOf('gw');
  for (let i = 0; i < 1001; i++) desk.find(by(gateway, forSubject(`ci:s${i}`)));
  desk.find(by(gateway, forSubject('ci:s1')));
  t.equal(desk.signed, 1001);
  desk.find(by(gateway, forSubject('ci:s0')));
  t.equal(desk.signed, 1002, 'the oldest had gone');
});
