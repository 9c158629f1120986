import t from 'tap';
import { parseBundleEndpointUrl, parseRedirectTarget } from '../../../src/identity/bundle-endpoint-url.js';

const problemOf = (url: unknown): string => {
  const parsed = parseBundleEndpointUrl(url);
  return parsed.ok ? 'accepted' : parsed.error;
};

t.test('a URL is read into what is connected to and what is asked', async (t) => {
  const read = (text: string) => {
    const parsed = parseBundleEndpointUrl(text);
    if (!parsed.ok) throw new Error(parsed.error);
    return parsed.value;
  };
  t.same(read('HTTPS://Example.org/a/../b?x=1#part'), {
    href: 'https://example.org/b?x=1',
    host: 'example.org',
    port: 443,
    target: '/b?x=1',
    shown: 'https://example.org/b',
  });
  t.match(read('https://example.org'), { target: '/', port: 443 });
  t.match(read('https://example.org:8443'), { host: 'example.org', port: 8443 });
  t.match(read('https://example.org:/b'), { port: 443 });
  t.match(read('https://[2001:db8::1]:8443/b'), { host: '2001:db8::1', port: 8443 });
  t.match(read('https://192.0.2.10/b'), { host: '192.0.2.10' });
});

t.test('what is no plain https URL is refused, and never repaired', async (t) => {
  const expected: [unknown, string | RegExp][] = [
    [undefined, 'the URL must be text'],
    ['', 'the URL has no scheme; write https://…'],
    ['a.test/b', 'the URL has no scheme; write https://…'],
    ['http://a.test/b', "the URL's scheme is http, and must be https"],
    ['spiffe://a.test/b', "the URL's scheme is spiffe, and must be https"],
    ['file:///etc/passwd', "the URL's scheme is file, and must be https"],
    ['https:a.test/b', 'the URL has no host'],
    ['https:/a.test/b', 'the URL has no host'],
    ['https:///b', 'the URL has no host'],
    ['https://?x', 'the URL has no host'],
    ['https://:443/b', /malformed host or port/],
    ['https://user@a.test/b', /userinfo/],
    ['https://user:pw@a.test/b', /userinfo/],
    ['https://@a.test/b', /userinfo/],
    ['https://:@a.test/b', /userinfo/],
    ['https://a.test:99999/b', /malformed host or port/],
    ['https://a.test:x/b', /malformed host or port/],
    ['https://a.test:0/b', 'the URL has port 0'],
    ['https://[::1/b', /malformed host or port/],
    ['https://0x7f.1/b', /unusual form; write 127\.0\.0\.1/],
    ['https://2130706433/b', /unusual form; write 127\.0\.0\.1/],
    ['https://%6cocalhost/b', /unusual form; write localhost/],
    ['https://a.test\\@b.test/', /RFC 3986/],
    [' https://a.test/b', /RFC 3986/],
    ['https://a.test/b\n', /RFC 3986/],
    ['https://a.te\tst/b', /RFC 3986/],
    ['https://bücher.test/b', /RFC 3986/],
    [`https://a.test/${'b'.repeat(8192)}`, /longer than 8192/],
  ];
  for (const [url, why] of expected) {
    if (typeof why === 'string') t.equal(problemOf(url), why, String(url));
    else t.match(problemOf(url), why, String(url).slice(0, 60));
  }
  t.equal(problemOf('https://a.test/user@b.test?u=x@y'), 'accepted', 'an @ further on is no userinfo');
});

t.test('a redirect leads where its Location says, if that is a valid endpoint URL', async (t) => {
  const from = parseBundleEndpointUrl('https://a.test:8443/d/bundle?x=1');
  if (!from.ok) return t.fail(from.error);
  const follow = (location: string): string => {
    const parsed = parseRedirectTarget(from.value, location);
    return parsed.ok ? parsed.value.href : parsed.error;
  };
  t.equal(follow('https://cdn.test/b'), 'https://cdn.test/b');
  t.equal(follow('/b'), 'https://a.test:8443/b');
  t.equal(follow('other'), 'https://a.test:8443/d/other');
  t.equal(follow('../up'), 'https://a.test:8443/up');
  t.equal(follow('?y=2'), 'https://a.test:8443/d/bundle?y=2');
  t.equal(follow('//cdn.test/b'), 'https://cdn.test/b');
  t.equal(follow(''), 'its Location is empty');
  t.match(follow('http://cdn.test/b'), /must be https/);
  t.match(follow('https://u@cdn.test/b'), /userinfo/);
  t.match(follow('//u@cdn.test/b'), /userinfo/);
  t.match(follow('\\\\cdn.test/b'), /RFC 3986/);
  t.match(follow('/\tb'), /RFC 3986/);
  t.match(follow('javascript:alert(1)'), /must be https/);
  t.match(follow(`/${'b'.repeat(9000)}`), /too long/);
});
