import t from 'tap';
import { metadataUrlOf } from '../../../src/identity/provider-metadata.js';

const at = (issuer: string): string => {
  const url = metadataUrlOf(issuer);
  return url.ok ? url.value.href : url.error;
};

t.test(
  'metadata stands below the issuer, whose last slash is taken off (OpenID Connect Discovery 4.1)',
  async (t) => {
    const wellKnown = '.well-known/openid-configuration';
    for (const [issuer, place] of [
      ['https://token.actions.githubusercontent.com', 'https://token.actions.githubusercontent.com'],
      ['https://gitlab.example', 'https://gitlab.example'],
      ['https://accounts.google.com', 'https://accounts.google.com'],
      ['https://sts.windows.net/t-1/', 'https://sts.windows.net/t-1'],
      ['https://login.microsoftonline.com/t-1/v2.0', 'https://login.microsoftonline.com/t-1/v2.0'],
      ['https://k8s.test:6443', 'https://k8s.test:6443'],
    ] as const)
      t.equal(at(issuer), `${place}/${wellKnown}`);
  },
);

t.test('what is no https URL alone has no metadata', async (t) => {
  t.match(at('https://x.test?y'), /has a query or a fragment/);
  t.match(at('https://x.test#y'), /has a query or a fragment/);
  t.match(at('http://x.test'), /must be https/);
  t.match(at('accounts.google.com'), /has no scheme/);
  t.match(at('spiffe://a.test/x'), /must be https/);
  t.match(at('https://user@x.test'), /userinfo/);
  t.match(at('https:///x'), /has no host/);
});
