import t, { type Test } from 'tap';
import { AssertionSigner } from '../support/assertion-signer.js';
import {
  ALICE,
  DelegationWorld,
  ENVOY,
  GATEWAY,
  outcomeOf,
  PAIRS,
  SIDECAR,
} from '../support/delegation-world.js';

async function start(t: Test, policy = PAIRS): Promise<DelegationWorld> {
  const of = await DelegationWorld.start({ policy });
  t.teardown(() => of.world.close());
  return of;
}

t.test('no forged, borrowed or worn-out assertion moves a byte', async (t) => {
  const of = await start(t);
  const stranger = await AssertionSigner.create();
  const now = Math.floor(Date.now() / 1000);
  const good = await of.assertion();
  const [head, body] = good.split('.');
  const none = Buffer.from('{"alg":"none","typ":"identity-assertion+jwt"}').toString('base64url');
  const texts: readonly (readonly [string, string])[] = [
    ['signed by a stranger', await of.assertion({}, stranger)],
    ['not signed', `${none}.${body}.`],
    ['its signature cut off', `${head}.${body}.`],
    ['over', await of.assertion({ iat: now - 61, exp: now - 1 })],
    ['meant for another', await of.assertion({ aud: 'billing' })],
    ['by another sidecar', await of.assertion({ iss: GATEWAY })],
    ['living for a day', await of.assertion({ exp: now + 86_400 })],
    ['of too many actors', await of.assertion({ act: { sub: ALICE, act: { sub: ALICE } } })],
  ];
  for (const [what, text] of texts.slice(0, -1))
    t.equal(await of.outcome(text), '403 delegation_untrusted', what);
  t.equal(await of.outcome(texts.at(-1)![1]), '403 delegation_too_deep');
  t.equal(await of.outcome(good, { as: of.world.web }), '403 delegation_missing', 'shown by another peer');
  t.equal(
    await of.outcome(good, { as: of.envoy }),
    '403 delegation_missing',
    'by one that is believed otherwise',
  );
  t.equal(of.world.upstream.bytes, '');
  t.equal(await of.outcome(good), '200', 'and the one that is good');
  for (const record of await of.world.untilRecords(texts.length + 3))
    t.notMatch(JSON.stringify(record), good.slice(-30));
});

t.test('nobody on the way can make a call for another look like the gateway’s own', async (t) => {
  const own = `  - { id: own, effect: allow, principals: ["${GATEWAY}", "${ENVOY}"], destinations: [status] }\n`;
  const of = await start(t, PAIRS + own);
  const bob = await of.assertion({ sub: 'spiffe://a.test/bob' });
  const gateway = await of.client();
  const said = `X-Identity-Assertion: ${bob}`;
  const cases: readonly (readonly [string, string, ...string[]])[] = [
    ['named by Connection', '403 policy_denied', 'Connection: X-Identity-Assertion', said],
    ['named twice', '403 policy_denied', 'Connection: x-identity-assertion, x-identity-assertion', said],
    ['two lines', '403 delegation_untrusted', said, said],
    ['an empty one before', '403 delegation_untrusted', 'X-Identity-Assertion:', said],
    ['joined by a comma', '403 delegation_untrusted', `${said}, ${bob}`],
    ['empty', '403 delegation_untrusted', 'X-Identity-Assertion:'],
  ];
  for (const [what, expected, ...lines] of cases)
    t.equal(outcomeOf(await of.ask(gateway, '/status', ...lines)), expected, what);
  const envoy = await of.client(of.envoy);
  const xfcc = `X-Forwarded-Client-Cert: By=${ENVOY};URI=spiffe://a.test/bob`;
  t.equal(outcomeOf(await of.ask(envoy, '/status', xfcc)), '403 policy_denied');
  t.equal(
    outcomeOf(await of.ask(envoy, '/status', 'Connection: x-forwarded-client-cert', xfcc)),
    '403 policy_denied',
    'also of XFCC',
  );
  t.equal(
    outcomeOf(await of.ask(envoy, '/status', xfcc, `X-Forwarded-Client-Cert: URI=${ALICE};URI=${SIDECAR}`)),
    '403 delegation_untrusted',
  );
  t.equal(of.world.upstream.bytes, '');
  t.equal(outcomeOf(await of.ask(gateway, '/status')), '200', 'its own call is let in');
});

t.test('what a client adds in another spelling neither counts nor crosses', async (t) => {
  const of = await start(t);
  const client = await of.client();
  const text = await of.assertion();
  for (const name of ['X_Identity_Assertion', 'x-identity_assertion'])
    t.equal(outcomeOf(await of.ask(client, '/status', `${name}: ${text}`)), '200', 'the gateway’s own call');
  t.notMatch(of.world.upstream.bytes, /identity.assertion/i);
});
