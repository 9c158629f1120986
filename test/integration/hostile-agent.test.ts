import type { ServerHttp2Stream } from 'node:http2';
import t from 'tap';
import type { Offered } from '../../src/dev/workload-api-server.js';
import {
  codec,
  framed,
  recovers,
  renewed,
  responseOf,
  SOURCE,
  serves,
  untilRefused,
  withAgent,
  withRawAgent,
} from '../support/agent-world.js';
import { mintRoot, type Svid } from '../support/pki.js';
import { endWith } from '../support/raw-grpc-server.js';
import { refusalsOf, sourceOf } from '../support/sources.js';
import { type World, waitFor } from '../support/start-proxy.js';
import { svidMessage, svidResponse } from '../support/workload-client.js';

/** What a broken or hostile agent can do to the whole sidecar: nothing but hold up its own news. */

type Hostile = (world: World) => Promise<Offered> | Offered;

const hostile: readonly (readonly [string, Hostile, RegExp])[] = [
  ['garbage', () => Buffer.from('garbage'), /not a protobuf message/],
  [
    'a message that is cut short',
    (w) => codec.serialize(responseOf(w, w.own)).subarray(0, -1),
    /not a protobuf message, or cut short/,
  ],
  ['no SVID at all', () => Buffer.alloc(0), /svids is empty/],
  [
    'an SVID with the key of another',
    async (w) => {
      const [one, other] = [await renewed(w), await renewed(w)];
      const { x509SvidKey } = svidMessage(other, w.caA);
      return svidResponse([svidMessage(one, w.caA, { x509SvidKey })]);
    },
    /it is not the key of the certificate/,
  ],
  [
    'an SVID of another ID than it says',
    (w) => svidResponse([svidMessage(w.web, w.caA, { spiffeId: w.own.uri })]),
    /it is that of/,
  ],
  [
    'an SVID that has expired',
    async (w) => {
      const past = await w.caA.issue(w.own.uri, { notAfter: new Date(Date.now() - 1000) });
      return svidResponse([svidMessage(past, w.caA)]);
    },
    /expired/,
  ],
  [
    'an SVID that its own bundle does not vouch for',
    async (w) => {
      const stranger = await mintRoot('a.test');
      return svidResponse([svidMessage(await stranger.issue(w.own.uri), w.caA)]);
    },
    /does not verify under the bundle of a\.test/,
  ],
  [
    'a bundle that is a leaf',
    (w) => svidResponse([svidMessage(w.own, w.caA, { bundle: w.web.certDer })]),
    /CA/,
  ],
];

for (const [name, make, why] of hostile) {
  t.test(`${name}: refused whole and said once, the last good serves, the next good is taken`, async (t) => {
    const { world, agent } = await withAgent(t);
    const open = await world.client();
    const bad = await make(world);
    const before = (await world.snapshot()).trustRevision;
    agent.offer('FetchX509SVID', bad);
    await untilRefused(world);
    t.match(refusalsOf(world, SOURCE)[0]?.problem, why);
    for (const call of agent.calls) call.send(bad); // it insists
    await serves(t, world, open);
    const { own, trustRevision } = await world.snapshot();
    t.equal(own.serial, world.own.serial);
    t.equal(trustRevision, before, 'nothing of it is in force');
    t.match((await sourceOf(world, SOURCE)).lastError, why, '/snapshot says why');
    const next = await renewed(world);
    agent.offer('FetchX509SVID', responseOf(world, next));
    await recovers(t, world, next);
    t.equal(refusalsOf(world, SOURCE).length, 1, 'said once, however often it was sent');
    t.equal(world.records.filter(({ event }) => event === 'trust.refused').length, 1, 'one record');
    await serves(t, world, open);
  });
}

for (const [how, ending] of [
  ['ends as if all were well', (stream: ServerHttp2Stream) => endWith(stream, { 'grpc-status': '0' })],
  ['resets the stream', (stream: ServerHttp2Stream) => stream.close(2)],
  ['drops the connection', (stream: ServerHttp2Stream) => stream.session?.destroy()],
] as const) {
  t.test(`an agent that sends half a message and ${how}: served on, and news arrive again`, async (t) => {
    let next: Svid | undefined;
    const { world, first } = await withRawAgent(t, (stream) => {
      if (next !== undefined) stream.write(framed(responseOf(world, next)));
    });
    const open = await world.client();
    next = await renewed(world);
    const whole = framed(responseOf(world, next));
    first.write(whole.subarray(0, whole.length / 2), () => ending(first));
    await waitFor(() => first.closed);
    await serves(t, world, open);
    await recovers(t, world, next);
    t.ok(refusalsOf(world, SOURCE).length <= 1, 'said once at most');
    await serves(t, world, open);
  });
}
