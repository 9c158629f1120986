// A service that believes x-identity-assertion and nothing else. Needs `jose`.
//   JWKS=http://127.0.0.1:9902/.well-known/jwks.json ISSUER=spiffe://example.org/billing AUDIENCE=billing PORT=8080 node service.mjs
import { readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { createLocalJWKSet, createRemoteJWKSet, jwtVerify } from 'jose';

const { JWKS = '', ISSUER = '', AUDIENCE = '', PORT = '8080' } = process.env;
if (JWKS === '' || ISSUER === '' || AUDIENCE === '') throw new Error('JWKS, ISSUER and AUDIENCE are needed');

/** The sidecar's keys: a URL (fetched again for a key that is not known), or its jwksFile (read again when it changes). */
function keysOf(place) {
  if (/^https?:/.test(place)) return createRemoteJWKSet(new URL(place), { cooldownDuration: 5000 });
  let version;
  let keys;
  return (header, token) => {
    const { ino, mtimeMs } = statSync(place);
    if (version !== `${ino} ${mtimeMs}`) {
      keys = createLocalJWKSet(JSON.parse(readFileSync(place, 'utf8')));
      version = `${ino} ${mtimeMs}`;
    }
    return keys(header, token);
  };
}

const keys = keysOf(JWKS);

/** Who called, and for whom. Throws for anything that this sidecar did not sign for this service, now. */
export async function verifyAssertion(text) {
  const { payload } = await jwtVerify(text, keys, {
    algorithms: ['EdDSA', 'ES256'],
    typ: 'identity-assertion+jwt', // nothing else that the same key signs
    issuer: ISSUER,
    audience: AUDIENCE,
    requiredClaims: ['sub', 'iat', 'exp', 'jti'],
    clockTolerance: 5,
  });
  const actors = []; // the caller first, then who had acted before it: history, not for decisions (RFC 8693 4.1)
  for (let { act } = payload; act !== undefined; { act } = act) actors.push(act.sub);
  return { subject: payload.sub, caller: actors[0] ?? payload.sub, through: actors.slice(1) };
}

const server = createServer(async (request, response) => {
  try {
    const who = await verifyAssertion(request.headers['x-identity-assertion'] ?? '');
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(who));
  } catch (error) {
    console.error(`refused: ${error.code ?? error.name}`); // never the assertion itself
    response.writeHead(401, { 'content-type': 'text/plain' }).end('not signed for this service\n');
  }
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
