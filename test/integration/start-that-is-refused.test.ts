import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Program } from '../support/program.js';
import { POLICY, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

/** Far more than a start takes, far less than anything that is tried again: who is still there then hangs. */
const PROMPTLY_MS = 10_000;

/** Its files, and no proxy yet. */
async function prepared(t: Test, options: WorldOptions): Promise<World> {
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  world.writeConfig(options);
  return world;
}

function start(t: Test, world: World): Program {
  const program = new Program(['run', '-c', 'countersign.yaml'], world.dir);
  t.teardown(() => program.child.kill('SIGKILL'));
  return program;
}

/** Takes connections and never says a word. @param at a path in the world's folder, or a port of its own. */
async function mute(t: Test, at: { readonly path: string } | { readonly port: 0 }): Promise<Server> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on('error', () => undefined)));
  server.listen('path' in at ? at : { ...at, host: '127.0.0.1' });
  await once(server, 'listening');
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server;
}

/** Our SVID and the bundle of a.test are the agent's to give. */
const byAgent = (world: World): WorldOptions => ({
  identity: `workloadApi: { socket: "unix://${world.dir}/agent.sock" }`,
  trust: `
  - { trustDomain: a.test, bundle: { workloadApi: true } }
  - { trustDomain: b.test, bundle: { file: b.pem } }`,
});

/** The system has handed over every signal that was sent; where it does not tell, that is taken for granted. */
function isDelivered(pid: number | undefined): boolean {
  const status = `/proc/${pid}/status`;
  return !existsSync(status) || /^ShdPnd:\s*0+$/m.test(readFileSync(status, 'utf8'));
}

for (const workers of [1, 2]) {
  const extra = `workers: ${workers}`;

  t.test(`with ${extra} a bundle file that is missing ends the start with 78 and its place`, async (t) => {
    const world = await prepared(t, { extra });
    rmSync(join(world.dir, 'b.pem'));
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, /^countersign\.yaml:\d+:\d+ trust\[1\]\.bundle\.file: .*b\.pem/m);
    t.notMatch(stderr, /^ +at /m, 'no stack');
  });

  t.test(`with ${extra} an address that is taken ends the start with 78 and says so`, async (t) => {
    const world = await prepared(t, { extra });
    const text = world.configText({ extra });
    world.write('countersign.yaml', text.replace('127.0.0.1:0\n', `127.0.0.1:${world.upstream.port}\n`));
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, /^cannot start: .*EADDRINUSE/m);
    t.match(stderr, `${world.upstream.port}`, 'which one');
  });

  t.test(`with ${extra} an admin address that is taken ends the start with 78 and says so`, async (t) => {
    const world = await prepared(t, { extra });
    const text = world.configText({ extra });
    const taken = `admin: { address: 127.0.0.1:${world.upstream.port} }`;
    world.write('countersign.yaml', text.replace('admin: { address: 127.0.0.1:0 }', taken));
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, new RegExp(`^cannot start: .*EADDRINUSE.*${world.upstream.port}`, 'm'));
  });

  t.test(`with ${extra} records that have no place end the start with 78 and say so`, async (t) => {
    const world = await prepared(t, { extra, audit: 'missing/audit.ndjson' });
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, /^cannot start: ENOENT.*missing\/audit\.ndjson/m);
    t.notMatch(stderr, /^ +at /m, 'no stack');
  });

  t.test(`with ${extra} an agent that is asked already holds up no refusal`, async (t) => {
    const world = await prepared(t, {});
    world.writeConfig({ ...byAgent(world), extra });
    await mute(t, { path: join(world.dir, 'agent.sock') });
    rmSync(join(world.dir, 'b.pem'));
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, /trust\[1\]\.bundle\.file: .*b\.pem/);
  });

  t.test(`with ${extra} a bundle endpoint that is asked already holds up no refusal`, async (t) => {
    const world = await prepared(t, {});
    const endpoint = (await mute(t, { port: 0 })).address() as AddressInfo;
    const url = `https://localhost:${endpoint.port}/bundle`;
    world.writeConfig({
      extra,
      trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: c.test, bundle: { endpoint: { url: "${url}", profile: https_web, ca: a.pem } } }
  - { trustDomain: b.test, bundle: { file: b.pem } }`,
    });
    rmSync(join(world.dir, 'b.pem'));
    const { code, stderr } = await start(t, world).endWithin(PROMPTLY_MS);
    t.equal(code, 78, stderr);
    t.match(stderr, /trust\[2\]\.bundle\.file: .*b\.pem/);
  });

  t.test(`with ${extra} SIGTERM ends with 0 what still waits for an agent`, async (t) => {
    const world = await prepared(t, {});
    world.writeConfig({ ...byAgent(world), extra });
    await mute(t, { path: join(world.dir, 'agent.sock') });
    const program = start(t, world);
    await program.says('waiting for an SVID of our own', workers);
    program.child.kill('SIGTERM');
    const { code, stderr } = await program.endWithin(PROMPTLY_MS);
    t.equal(code, 0, stderr);
    t.notMatch(stderr, /worker was lost|giving up/);
  });

  t.test(`with ${extra} SIGTERM while the configuration is read ends with 0`, async (t) => {
    const world = await prepared(t, { extra });
    const policy = join(world.dir, 'policy.yaml');
    rmSync(policy);
    execFileSync('mkfifo', [policy]);
    const program = start(t, world);
    const writing = await open(policy, 'w'); // goes on once it reads, and by then it hears signals
    program.child.kill('SIGTERM');
    await waitFor(() => isDelivered(program.child.pid));
    await writing.writeFile(POLICY);
    rmSync(policy);
    world.write('policy.yaml', POLICY); // for the workers, if it starts any
    await writing.close();
    const { code, stderr } = await program.endWithin(PROMPTLY_MS);
    t.equal(code, 0, stderr);
    t.equal(stderr.includes('a worker is ready'), false, 'no worker was started for it');
  });
}
