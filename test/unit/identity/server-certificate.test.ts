import t from 'tap';
import {
  namesNotIn,
  parseServerCertificate,
  whyServerCertificateIsOver,
} from '../../../src/identity/server-certificate.js';
import { mintRoot, type Svid } from '../../support/pki.js';

const root = await mintRoot('web', { subject: 'CN=web root', uriSans: [] });
const web = await root.issue([], { otherSans: ['DNS:API.web.test', 'DNS:*.svc.web.test', 'DNS:a b'] });
const nowMs = web.notBefore.getTime() + 1000;

const read = (
  certificate: string,
  key: string,
  { names, ...clock }: { names?: readonly string[]; nowMs?: number; clockSkewMs?: number } = {},
) =>
  parseServerCertificate(Buffer.from(certificate), Buffer.from(key), {
    names,
    nowMs,
    clockSkewMs: 0,
    ...clock,
  });

t.test('a server certificate is for its own DNS names, unless others are said', async (t) => {
  const own = read(web.chainPem, web.keyPem);
  if (!own.ok) throw new Error(own.error.message);
  t.same(own.value.names, ['api.web.test', '*.svc.web.test'], 'in lower case, and only what SNI can ask for');
  t.same(namesNotIn(own.value), []);
  const said = read(web.chainPem, web.keyPem, { names: ['x.svc.web.test', 'api.web.test', 'other.test'] });
  if (!said.ok) throw new Error(said.error.message);
  t.same(said.value.names, ['x.svc.web.test', 'api.web.test', 'other.test']);
  t.same(namesNotIn(said.value), ['other.test'], 'the wildcard stands for one label');
  const intermediate = await root.intermediate();
  const below = await intermediate.issue([], { otherSans: ['DNS:x.test'] });
  t.equal(read(below.chainPem, below.keyPem).ok, true, 'with its intermediates');
});

t.test('what could not be shown to anybody is refused, with the file that is to blame', async (t) => {
  const other = await root.issue([], { otherSans: ['DNS:x.test'] });
  const nameless = await root.issue('spiffe://a.test/x');
  const client = await root.issue([], {
    otherSans: ['DNS:x.test'],
    extendedKeyUsage: ['1.3.6.1.5.5.7.3.2'],
  });
  const cases: [string, string, string, 'certificate' | 'key', RegExp][] = [
    ['nothing', '', web.keyPem, 'certificate', /holds no certificate/],
    ['half', web.chainPem.slice(0, 300), web.keyPem, 'certificate', /has no end/],
    ['a key in it', web.chainPem + web.keyPem, web.keyPem, 'certificate', /is not a certificate/],
    [
      'a broken intermediate',
      `${web.chainPem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
      web.keyPem,
      'certificate',
      /certificate 2 cannot be read/,
    ],
    ['a CA first', root.certPem + web.chainPem, root.keyPem, 'certificate', /that of a CA/],
    ['no DNS name', nameless.chainPem, nameless.keyPem, 'certificate', /no DNS name/],
    ['not for servers', client.chainPem, client.keyPem, 'certificate', /not for servers/],
    ['the key of another', web.chainPem, other.keyPem, 'key', /not the key of the certificate/],
    ['no key', web.chainPem, web.chainPem, 'key', /not a private key/],
  ];
  for (const [what, certificate, key, part, why] of cases) {
    const chain = read(certificate, key);
    t.equal(chain.ok, false, what);
    if (chain.ok) continue;
    t.equal(chain.error.part, part, what);
    t.match(chain.error.message, why, what);
  }
});

t.test('its dates count, the beginning with what clocks may differ by', async (t) => {
  const at = (svid: Svid, ms: number, clockSkewMs = 0) => {
    const chain = read(svid.chainPem, svid.keyPem, { nowMs: ms, clockSkewMs });
    return chain.ok ? 'good' : chain.error.message;
  };
  const [from, until] = [web.notBefore.getTime(), web.notAfter.getTime()];
  t.equal(at(web, from), 'good');
  t.match(at(web, from - 1000), /counts only from/);
  t.equal(at(web, from - 1000, 1000), 'good');
  t.equal(at(web, until), 'good', 'to the last second');
  t.match(at(web, until + 1000), /the certificate expired at/);
  t.match(at(web, until + 1000, 60_000), /expired/, 'no clock lengthens a life');
  const own = read(web.chainPem, web.keyPem);
  if (!own.ok) throw new Error(own.error.message);
  t.equal(whyServerCertificateIsOver(own.value.leaf, until), undefined);
  t.match(whyServerCertificateIsOver(own.value.leaf, until + 1), /expired/);
});
