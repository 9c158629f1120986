import t from 'tap';
import { bundlesInFolder } from '../../../src/identity/bundle-file-names.js';

const domainsIn = (...names: string[]) => Object.fromEntries(bundlesInFolder(names).domains);

t.test('a file is the bundle of the trust domain that it is named after', async (t) => {
  t.same(domainsIn('example.org.pem', 'partner.example.json', 'prod.crt', 'x_1.test.spiffe'), {
    'example.org': 'example.org.pem',
    'partner.example': 'partner.example.json',
    prod: 'prod.crt',
    'x_1.test': 'x_1.test.spiffe',
  });
  t.same(domainsIn('constructor.json'), { constructor: 'constructor.json' });
  t.equal(bundlesInFolder(['__proto__.pem']).domains.get('__proto__'), '__proto__.pem');
});

t.test('the names of SPIFFE Filesystem Delivery are known, in each form that it has had', async (t) => {
  const folder = bundlesInFolder([
    '..data',
    'credential-bundle.private-key.x509.pem',
    'credential-bundle.private-key.pem',
    'hints.json',
    'a.test.spiffe-trust-bundle.x509.pem',
    'b.test.spiffe-trust-bundle.pem',
    'c.test.trust-bundle.pem',
    'ca.spiffe-trust-bundle.x509.pem',
  ]);
  t.same(
    [...folder.domains.keys()],
    ['a.test', 'b.test', 'c.test', 'ca'],
    'the long ending says that what comes before it is a domain',
  );
  t.same(folder.problems, []);
  t.same(
    folder.ignored.map(({ name }) => name),
    ['..data', 'credential-bundle.private-key.pem', 'credential-bundle.private-key.x509.pem', 'hints.json'],
  );
});

t.test('what is no bundle is left out, each with its reason', async (t) => {
  const reasons = (names: string[]) => {
    const folder = bundlesInFolder(names);
    t.same([folder.domains.size, folder.problems], [0, []], names.join(' '));
    t.same(folder.ignored.map(({ name }) => name).sort(), [...names].sort());
    return [...new Set(folder.ignored.map(({ why }) => why))];
  };
  t.same(reasons(['..data', '..2026_11_21', '.example.org.pem.ab12', '.gitignore']), ['a hidden file']);
  t.same(reasons(['example.org.pem.tmp', 'example.org.pem~', 'a.test.bak', 'a.test.pem.orig']), [
    'a temporary file or a copy',
  ]);
  t.same(reasons(['README', 'README.md', 'readme.txt']), ['a note for people']);
  const material = ['svid.pem', 'svid_key.pem', 'svid-key.pem', 'tls.crt', 'tls.key', 'key.pem', 'cert.pem'];
  t.same(reasons([...material, 'svid.0.pem', 'svid.0.key', 'jwt_bundle.json']), [
    'a key, a certificate chain or a list of hints, no bundle',
  ]);
  t.same(reasons(['example.org.jks', 'example.org', 'notes.txt', 'example.org.der']), [
    'no file of .pem, .crt, .json, .spiffe',
  ]);
});

t.test('a bundle whose name names no domain is a problem that says what to do', async (t) => {
  const todo =
    'it does not name a trust domain; rename it, or give it an entry with trustDomain and bundle.file';
  const nameless = [
    'ca.crt',
    'ca.pem',
    'bundle.pem',
    'bundle.json',
    'svid_bundle.pem',
    'trust-bundle.pem',
    'bundle.0.pem',
    'federated_bundle.0.1.pem',
    'root-cert.pem',
    'ca-certificates.crt',
    'ca-bundle.crt',
    'spiffe-trust-bundle.pem',
  ];
  for (const name of nameless) {
    const folder = bundlesInFolder([name]);
    t.same([folder.domains.size, folder.problems], [0, [`"${name}": ${todo}`]]);
  }
  const problem = (name: string) => bundlesInFolder([name]).problems[0];
  const named = 'it is to be named after its trust domain, but';
  t.equal(problem('Example.org.pem'), `"Example.org.pem": ${named} the trust domain has capital letters`);
  t.equal(problem('example org.pem'), `"example org.pem": ${named} the trust domain has the character " "`);
  t.equal(problem('bücher.pem'), `"bücher.pem": ${named} the trust domain has a character outside ASCII`);
  t.equal(problem('x\n.pem'), `"x\\n.pem": ${named} the trust domain has a control character`);
  t.match(problem(`${'a'.repeat(256)}.pem`), /longer than 255 bytes/);
  t.equal(problem('example.org.PEM'), '"example.org.PEM": write its ending in lower case');
});

t.test('two files of one domain are a problem, and neither of them is taken', async (t) => {
  const folder = bundlesInFolder([
    'b.test.pem',
    'a.test.pem',
    'a.test.json',
    'a.test.spiffe-trust-bundle.pem',
  ]);
  t.same([...folder.domains], [['b.test', 'b.test.pem']]);
  t.same(
    [...folder.contested],
    [['a.test', ['a.test.json', 'a.test.pem', 'a.test.spiffe-trust-bundle.pem']]],
  );
  t.same(folder.problems, [
    'a.test.json and a.test.pem and a.test.spiffe-trust-bundle.pem are both the bundle of a.test; leave one of them, with all of its authorities',
  ]);
});

t.test('the answer does not depend on the order of the names', async (t) => {
  const names = ['b.test.pem', 'a.test.json', 'ca.crt', '.x', 'a.test.pem'];
  t.same(bundlesInFolder(names), bundlesInFolder([...names].reverse()));
  t.same(names[0], 'b.test.pem', 'and the argument is left as it was');
});
