import { once } from 'node:events';
import t from 'tap';
import {
  framed,
  recovers,
  renewed,
  responseOf,
  SOURCE,
  serves,
  startAgent,
  untilRefused,
  withAgent,
  withRawAgent,
} from '../support/agent-world.js';
import { frame } from '../support/raw-grpc-server.js';
import { answerOk } from '../support/recorder-upstream.js';
import { GET, refusalsOf } from '../support/sources.js';
import { waitFor } from '../support/start-proxy.js';

/** An agent that floods, hangs, restarts or stays away: the sidecar serves on by what it has. */

t.test('an agent that floods holds up no request, and the newest state is in force at its end', async (t) => {
  const { world, first } = await withRawAgent(t, () => undefined);
  const open = await world.client();
  const [one, two] = [await renewed(world), await renewed(world)];
  const flood = Buffer.concat(
    Array.from({ length: 60 }, (_, i) =>
      i % 3 === 2 ? frame(Buffer.from('garbage')) : framed(responseOf(world, i % 3 === 0 ? one : world.own)),
    ),
  );
  let isOver = false;
  const pump = (async () => {
    for (let i = 0; i < 60; i++) {
      if (!first.write(flood)) await once(first, 'drain');
      await new Promise((resolve) => setTimeout(resolve, 20)); // for more than a second, not in one burst
    }
    first.write(framed(responseOf(world, two)));
    isOver = true;
  })();
  let [asked, failed, longestMs] = [0, 0, 0];
  while (!isOver) {
    const from = performance.now();
    if ((await open.ask(GET))[0]?.status !== 200) failed++;
    longestMs = Math.max(longestMs, performance.now() - from);
    asked++;
  }
  await pump;
  t.equal(failed, 0);
  t.ok(asked > 20, `${asked} requests meanwhile`);
  t.ok(longestMs < 500, `the longest took ${Math.round(longestMs)} ms`);
  await recovers(t, world, two);
  const rotated = world.records.filter(({ event }) => event === 'svid.rotated').length;
  t.ok(rotated < 60, `${rotated} of 2400 messages came into force`);
  t.ok(refusalsOf(world, SOURCE).length < 60, 'and few were said');
  await serves(t, world, open);
});

t.test('an agent that restarts is said once, and its news are taken when it is back', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  const busy = await world.client();
  world.upstream.respond = () => undefined;
  busy.send(GET); // a request across it all
  await waitFor(() => world.upstream.requests.length === 1);
  world.upstream.respond = answerOk;
  agent.close();
  await untilRefused(world);
  t.match(refusalsOf(world, SOURCE)[0]?.problem, /CANCELLED|UNAVAILABLE/);
  await serves(t, world, open);
  t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), 'workload-api is refused', 'and told why');
  const next = await renewed(world);
  await startAgent(t, world, responseOf(world, next));
  await recovers(t, world, next);
  const held = world.upstream.connections[0]!;
  held.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  await busy.until(() => busy.answers.length === 1);
  t.equal(busy.answers[0]?.status, 200);
  t.equal(refusalsOf(world, SOURCE).length, 1, 'said once');
  await serves(t, world, open);
});

t.test('an agent that comes back with the same state changes nothing but the complaint', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  const { sequence } = await world.snapshot();
  agent.close();
  await untilRefused(world);
  await startAgent(t, world, responseOf(world, world.own));
  await recovers(t, world, world.own);
  t.equal((await world.snapshot()).sequence, sequence, 'no new snapshot');
  await serves(t, world, open);
});

t.test('an agent that hangs after a restart is given up, said once, and asked again', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  agent.answer('FetchX509SVID', 'hang');
  for (const call of agent.calls) call.end();
  await agent.nextCall(); // asked again at once, and it says nothing
  await serves(t, world, open);
  await untilRefused(world); // 10 s, as docs/trust-sources.md says
  t.match(refusalsOf(world, SOURCE)[0]?.problem, /nothing came within 10 s/);
  await serves(t, world, open);
  agent.answer('FetchX509SVID', 'offer');
  const next = await renewed(world);
  agent.offer('FetchX509SVID', responseOf(world, next));
  await recovers(t, world, next);
  t.equal(refusalsOf(world, SOURCE).length, 1);
});

t.test(
  'an own SVID that ends while the agent is away: not ready, said, and ready with the next',
  async (t) => {
    const clock = { skewMs: 0 };
    const { world, agent } = await withAgent(t, clock);
    const day = { ttlMs: 24 * 3_600_000 };
    const open = await world.client(await world.caA.issue(world.web.uri, day));
    t.equal((await open.ask(GET))[0]?.status, 200);
    agent.close();
    await untilRefused(world);
    clock.skewMs = world.own.notAfter.getTime() - Date.now() + 60_000;
    const ready = await fetch(`${world.adminUrl}/readyz`);
    t.equal(ready.status, 503);
    t.equal(await ready.text(), 'not ready: the own SVID has expired\n');
    const told = (): unknown =>
      world.diagnostics.find(
        ({ level, message }) => level === 'error' && /own SVID is not acceptable/.test(message),
      );
    await waitFor(() => told() !== undefined);
    t.match(told(), { detail: { serial: world.own.serial, problem: /svid_expired/ } });
    t.match((await world.snapshot()).own.problem, /svid_expired/);
    t.equal(
      (await open.ask(GET))[0]?.status,
      200,
      'who is connected is served on: it is new peers who refuse us',
    );
    const next = await world.caA.issue(world.own.uri, { ...day, otherSans: ['DNS:svc.test'] });
    await startAgent(t, world, responseOf(world, next));
    await recovers(t, world, next);
    t.equal((await world.snapshot()).own.problem, undefined);
    t.equal((await open.ask(GET))[0]?.status, 200);
  },
);
