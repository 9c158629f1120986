import t, { type Test } from 'tap';
import { isBlocked, statusesOf } from '../support/blocked.js';
import { holdInvariants, seriesOf } from '../support/invariants.js';
import { World } from '../support/start-proxy.js';

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

const ask = (method: string, target: string, host = 'svc.test'): string =>
  `${method} ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

t.test('P056 a method that is none, or that echoes or tunnels, is refused', async (t) => {
  const world = await start(t);
  for (const method of ['get', 'Get', 'FOO', 'GETT', 'G ET', 'GET\0', '"GET"', 'GÉT', 'POST;', '\tGET']) {
    await isBlocked(t, world, ask(method, '/public/a'), {
      reason: ['request_malformed', 'method_not_allowed'],
      status: [400, 405, 501],
      closes: true,
    });
  }
  for (const method of ['TRACE', 'CONNECT']) {
    await isBlocked(t, world, ask(method, '/public/a'), {
      reason: ['method_not_allowed', 'request_malformed'],
      status: [400, 405],
      closes: true,
    });
  }
  await holdInvariants(t, world);
});

t.test('P057 a method-override header is removed, so the method that was judged is the method', async (t) => {
  const world = await start(t);
  for (const name of [
    'X-HTTP-Method-Override',
    'X-HTTP-Method',
    'X-Method-Override',
    'X_HTTP_Method_Override',
  ]) {
    const [answer] = await (await world.client()).ask(
      `POST /public/a HTTP/1.1\r\nHost: svc.test\r\n${name}: DELETE\r\nContent-Length: 0\r\n\r\n`,
    );
    t.equal(answer?.status, 200, name);
    t.equal(world.upstream.requests.at(-1)?.method, 'POST');
    t.notMatch(world.upstream.bytes, /DELETE/, name);
  }
  await holdInvariants(t, world);
});

t.test('P058, P133 other methods are denied, and the label for methods is from a closed set', async (t) => {
  const world = await start(t);
  await isBlocked(t, world, ask('DELETE', '/public/a'), { reason: 'no_rule_matched', status: 403 });
  const before = await seriesOf(world);
  for (const method of [
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'PROPFIND',
    'PURGE',
    'M-SEARCH',
    'QUERY',
    'REPORT',
  ]) {
    await isBlocked(t, world, ask(method, '/public/a'), {
      reason: ['no_rule_matched', 'request_malformed'],
      status: [400, 403],
    });
  }
  for (let i = 0; i < 50; i++) {
    await isBlocked(t, world, ask(`M${i}X`, '/public/a'), { reason: 'request_malformed', status: 400 });
  }
  t.ok(
    (await seriesOf(world)) <= before + 30,
    'one more result, whatever the methods (one histogram of its own)',
  );
  const metrics = await world.metrics();
  t.notMatch(metrics, /M7X|PROPFIND/);
  await holdInvariants(t, world);
});

t.test('P146 HEAD and OPTIONS are judged like any method, and a HEAD refusal has no body', async (t) => {
  const world = await start(t);
  const client = await world.client();
  await isBlocked(t, world, ask('HEAD', '/admin/x'), { reason: 'no_rule_matched', status: 403, client });
  t.ok(client.received.endsWith('\r\n\r\n'), 'no body');
  client.send(ask('GET', '/public/a'));
  await client.until(() => statusesOf(client).length === 2);
  t.same(statusesOf(client), [403, 200], 'and the connection goes on in step');
  await world.untilRecords(2);
  await isBlocked(t, world, ask('OPTIONS', '/admin/x'), { reason: 'no_rule_matched', status: 403 });
  const cors = 'Origin: https://evil.test\r\nAccess-Control-Request-Method: GET\r\n';
  await isBlocked(t, world, `OPTIONS /admin/x HTTP/1.1\r\nHost: svc.test\r\n${cors}\r\n`, {
    reason: 'no_rule_matched',
    status: 403,
  });
  await isBlocked(t, world, ask('OPTIONS', '*'), { reason: 'target_malformed', status: 400 });
  await isBlocked(t, world, 'OPTIONS * HTTP/1.1\r\nHost: svc.test\r\nMax-Forwards: 0\r\n\r\n', {
    reason: 'target_malformed',
    status: 400,
  });
  await isBlocked(t, world, 'OPTIONS /admin/x HTTP/1.1\r\nHost: svc.test\r\nMax-Forwards: 0\r\n\r\n', {
    reason: 'no_rule_matched',
    status: 403,
  });
  await isBlocked(t, world, 'HEAD /admin/x HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 9\r\n\r\n', {
    reason: 'no_rule_matched',
    status: 403,
    closes: true,
  });
  await holdInvariants(t, world);
});

t.test('P059, P060, P064 a request names exactly one host', async (t) => {
  const world = await start(t);
  const get = 'GET /public/a HTTP/1.1\r\n';
  for (const lines of [
    'Host: svc.test\r\nHost: locked.test\r\n',
    'Host: locked.test\r\nHost: svc.test\r\n',
    'Host: svc.test\r\nhost: svc.test\r\n',
    'Host: svc.test\r\nX-A: 1\r\nHOST: locked.test\r\n',
    'Host: svc.test\r\nHost:\r\n',
    '',
    'Host:\r\n',
    'Host: \t\r\n',
    'X-Host: svc.test\r\n',
    'Host_: svc.test\r\n',
  ]) {
    await isBlocked(t, world, `${get}${lines}\r\n`, {
      reason: ['host_malformed', 'host_missing', 'request_malformed'],
      status: 400,
      closes: true,
    });
  }
  for (const host of [
    'svc.test, locked.test',
    'svc.test locked.test',
    'svc.test,',
    'svc.test/',
    'svc.test/public',
    'svc.test?x',
    'svc.test#locked.test',
    'u@svc.test',
    'u:p@svc.test',
    'svc.test@locked.test',
    'http://svc.test',
    'svc.test:',
    'svc.test:0',
    'svc.test:99999',
    'svc.test:044',
    'svc.test:44x',
    'svc.test:443:443',
    'svc..test',
    '.svc.test',
    'svc.test..',
    'svc%2etest',
    'svc%2Etest',
    'svc\\.test',
    '*.test',
    '[::1',
    '[::1]x',
    'svc.test\x0b',
    '"svc.test"',
    'svc.test;x',
    '\xa0svc.test',
    'ſvc.test',
  ]) {
    const octets = Buffer.from(host, 'utf8').toString('latin1');
    await isBlocked(t, world, `${get}Host: ${octets}\r\n\r\n`, {
      reason: ['host_malformed', 'header_malformed', 'request_malformed'],
      status: 400,
      closes: true,
    });
  }
  await isBlocked(t, world, 'GET /public/a HTTP/1.0\r\n\r\n', {
    reason: 'host_missing',
    status: 400,
    closes: true,
  });
  await holdInvariants(t, world);
});

t.test('P061 where target and Host differ nobody chooses between them', async (t) => {
  const world = await start(t);
  for (const [authority, host] of [
    ['locked.test', 'svc.test'],
    ['svc.test', 'locked.test'],
    ['svc.test:444', 'svc.test'],
    ['u@svc.test', 'svc.test'],
    ['', 'svc.test'],
  ]) {
    await isBlocked(t, world, ask('GET', `http://${authority}/public/x`, host), {
      reason: ['host_malformed', 'request_malformed', 'target_malformed'],
      status: 400,
      closes: true,
    });
  }
  await isBlocked(t, world, ask('GET', 'http://locked.test/x', 'locked.test'), {
    reason: 'misdirected_request',
    status: 421,
  });
  await holdInvariants(t, world);
});

t.test(
  'P062, P147 another host than the one TLS was opened for is 421, also later on the connection',
  async (t) => {
    const world = await start(t);
    for (const host of ['locked.test', 'LOCKED.test', 'locked.test.', 'locked.test:443']) {
      await isBlocked(t, world, ask('GET', '/x', host), { reason: 'misdirected_request', status: 421 });
    }
    // even for who may go there: the connection was not opened for it
    const client = await world.client(world.admin);
    await isBlocked(t, world, ask('GET', '/x', 'locked.test'), {
      reason: 'misdirected_request',
      status: 421,
      client,
    });
    const pipelined = await world.client();
    pipelined.send(ask('GET', '/public/a') + ask('GET', '/x', 'locked.test') + ask('GET', '/public/b'));
    await pipelined.until(() => statusesOf(pipelined).length === 3);
    t.same(statusesOf(pipelined), [200, 421, 200]);
    t.same(
      world.upstream.requests.map(({ target }) => target),
      ['/public/a', '/public/b'],
    );
    await world.untilRecords(8);
    const fronted = await world.client(world.web, { servername: 'locked.test' });
    await isBlocked(t, world, ask('GET', '/x', 'locked.test'), {
      reason: 'no_rule_matched',
      status: 403,
      client: fronted,
    });
    await isBlocked(t, world, ask('GET', '/public/a'), {
      reason: 'misdirected_request',
      status: 421,
      client: fronted,
    });
    await holdInvariants(t, world);
  },
);

t.test('P062 without SNI the host decides alone, for each identity by its own rules', async (t) => {
  const world = await start(t);
  const nameless = await world.client(world.web, { servername: '' });
  await isBlocked(t, world, ask('GET', '/x', 'locked.test'), {
    reason: 'no_rule_matched',
    status: 403,
    client: nameless,
  });
  const [answer] = await (await world.client(world.admin, { servername: '' })).ask(
    ask('GET', '/x', 'locked.test'),
  );
  t.equal(answer?.status, 200);
  t.equal(world.upstream.requests.at(-1)?.header('host'), 'locked.test');
  await holdInvariants(t, world);
});

t.test('P063 every spelling of a host is the same host, and one spelling goes on', async (t) => {
  const world = await start(t);
  const client = await world.client();
  for (const [host, sent] of [
    ['SVC.TEST', 'svc.test'],
    ['svc.test.', 'svc.test'],
    ['svc.test:443', 'svc.test:443'],
    ['Svc.Test.:443', 'svc.test:443'],
    ['svc.test:8443', 'svc.test:8443'],
  ] as const) {
    const [answer] = await client.ask(ask('GET', '/public/a', host));
    t.equal(answer?.status, 200, host);
    t.same(world.upstream.requests.at(-1)?.all('host'), [sent]);
    t.equal(world.upstream.requests.at(-1)?.header('x-forwarded-host'), sent);
  }
  const records = await world.untilRecords(5);
  t.ok(records.every(({ request }) => request.route === 'r1' && request.host === 'svc.test'));
  for (const host of ['SVC.TEST', 'svc.test.', 'svc.test:443']) {
    await isBlocked(t, world, ask('GET', '/admin/x', host), { reason: 'no_rule_matched', status: 403 });
  }
  await isBlocked(t, world, ask('GET', '/public/a', 'xsvc.test'), { reason: 'route_not_found', status: 404 });
  await isBlocked(t, world, ask('GET', '/public/a', 'svc.test.evil'), {
    reason: 'route_not_found',
    status: 404,
  });
  await isBlocked(t, world, ask('GET', '/public/a', '127.0.0.1'), { reason: 'route_not_found', status: 404 });
  await isBlocked(t, world, ask('GET', '/public/a', '[::1]:443'), { reason: 'route_not_found', status: 404 });
  await holdInvariants(t, world);
});
