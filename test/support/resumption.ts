import type { Svid } from './pki.js';
import type { ClientOptions, RawClient } from './raw-client.js';

/** A proxy that clients come to, in this process or in others. */
export interface Served {
  client(identity: Svid, options: Partial<ClientOptions>): Promise<RawClient>;
  nobody(options: Partial<ClientOptions>): Promise<RawClient>;
}

export const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

/** TLS of exactly this version. */
export const only = (version: 'TLSv1.2' | 'TLSv1.3'): Partial<ClientOptions> => ({
  minVersion: version,
  maxVersion: version,
});

/** A connection that has done a request, and the session it may offer to resume. */
export async function firstConnection(
  world: Served,
  identity: Svid | undefined,
  options: Partial<ClientOptions>,
): Promise<{ client: RawClient; session: Buffer }> {
  const client = await (identity === undefined ? world.nobody(options) : world.client(identity, options));
  await client.ask(GET); // in TLS 1.3 tickets come with the first bytes
  const session = client.socket.getSession();
  if (session === undefined) throw new Error('the client holds no session');
  return { client, session };
}

/** Offers that session on a new connection, with the certificate in case that the server wants a full handshake. */
export function resume(
  world: Served,
  session: Buffer,
  identity: Svid | undefined,
  options: Partial<ClientOptions>,
): Promise<RawClient> {
  const all = { ...options, session };
  return identity === undefined ? world.nobody(all) : world.client(identity, all);
}
