import t from 'tap';
import { parseTarget } from '../../../src/message/target.js';

const reasonOf = (url: string, host = 'svc.test', method = 'GET'): string => {
  const target = parseTarget(method, url, host);
  return target.ok ? 'ok' : target.error.reason;
};
const accepted = (url: string, host = 'svc.test') => {
  const target = parseTarget('GET', url, host);
  if (!target.ok) throw new Error(`${url}: ${target.error.reason}: ${target.error.detail}`);
  return target.value;
};

t.test('a path that every server reads alike crosses byte-exact', (t) => {
  const paths = [
    '/',
    '/public/a',
    '/public/',
    "/a!$&'()*+,=:@b",
    '/a.b/..c/...',
    '/_next/[slug].js',
    '/caf%C3%A9',
    '/a%20b',
    '/50%25',
    '/a%25zz',
    '/what%3F',
    '/%E3%83%86%E3%82%B9%E3%83%88',
  ];
  for (const path of paths) t.equal(accepted(path).path, path);
  t.end();
});

t.test('a path with two readings is refused as path_ambiguous', (t) => {
  const paths = [
    '/public/../admin/x',
    '/public/./x',
    '/public/..',
    '/..',
    '/.',
    '/public/%2e%2e/admin/x',
    '/public/.%2E/admin/x',
    '/public/..%2fadmin/x',
    '/public/..%252fadmin/x',
    '/public/..%255cadmin',
    '/a%25%36%31',
    '/a%252561',
    '/a%25u002fb',
    '//admin/x',
    '/public//../admin/x',
    '/public//x',
    '/%2Fadmin/x',
    '/public/%2F/admin',
    '/public/%2F../admin',
    '/public\\..\\admin\\x',
    '/public/..%5cadmin',
    '/admin;v=1/x',
    '/public/..;/admin/x',
    '/public/..%3b/admin/x',
    '/admin%00.png',
    '/public/%00/../admin/x',
    '/public/%0d%0a',
    '/public/%7f',
    '/%61dmin',
    '/%7Euser',
    '/a%2Db',
    '/a%',
    '/a%2',
    '/a%zz',
    '/a%u0041',
    '/%c0%ae%c0%ae/admin',
    '/%c0%af',
    '/%ff',
    '/%e3%81',
    '/%ed%a0%80',
    '/a b',
    '/a\tb',
    '/a\u0000b',
    '/a\u007fb',
    '/caf\u00e9',
    '/\uff0e\uff0e/admin',
    '/a"b',
    '/a<b',
    '/a>b',
    '/a^b',
    '/a`b',
    '/a{b',
    '/a|b',
    '/a}b',
    '/public/..%20/admin',
    '/public/.%20./admin',
    '/public/%20/admin',
    '/public/%EF%BC%8E%EF%BC%8E/admin',
    '/public/%E2%80%A4%E2%80%A4/admin',
    '/public%EF%BC%8F..%EF%BC%8Fadmin',
    '/public/..%EF%BC%BCadmin',
    '/public/%E2%84%80/x',
  ];
  for (const path of paths) t.equal(reasonOf(path), 'path_ambiguous', path);
  t.end();
});

t.test('a fragment is never taken for a part of the target', (t) => {
  t.equal(reasonOf('/public#/../admin'), 'path_ambiguous');
  t.equal(reasonOf('/public?x#/../admin'), 'target_malformed');
  t.equal(reasonOf('http://svc.test#/admin'), 'path_ambiguous');
  t.end();
});

t.test('the query crosses byte-exact, whatever it says', (t) => {
  for (const query of ['?', '?/../admin/x', '?a=b;c=%2e%2e%2f%00&d=\\{}|"<>', '??x=%zz']) {
    const target = accepted(`/public/a${query}`);
    t.equal(target.path, '/public/a');
    t.equal(target.query, query);
  }
  t.equal(accepted('/public/a').query, '');
  for (const query of ['?a b', '?a\tb', '?a\u0000', '?\u00e9', '?a\u007f']) {
    t.equal(reasonOf(`/public/a${query}`), 'target_malformed', query);
  }
  t.end();
});

t.test('an encoded slash is noted with its decoded reading, in either case of its digits', (t) => {
  const target = accepted('/repos/group%2Fname%2ffile/x%20y');
  t.equal(target.path, '/repos/group%2Fname%2ffile/x%20y');
  t.equal(target.decodedSlashPath, '/repos/group/name/file/x%20y');
  t.equal(target.decodedPath, '/repos/group/name/file/x y');
  t.equal(accepted('/repos/x%20y').decodedSlashPath, undefined);
  t.equal(accepted('/repos/x%20y').decodedPath, '/repos/x y');
  t.equal(accepted('/repos/x').decodedPath, undefined);
  t.equal(accepted('/repos/x%2F').decodedSlashPath, '/repos/x/');
  t.end();
});

t.test('spellings of one host become one host', (t) => {
  t.match(accepted('/', 'SVC.TEST'), { host: 'svc.test', authority: 'svc.test' });
  t.match(accepted('/', 'svc.test.'), { host: 'svc.test', authority: 'svc.test' });
  t.match(accepted('/', 'Svc.Test.:443'), { host: 'svc.test', authority: 'svc.test:443' });
  t.match(accepted('/', '[::1]:8443'), { host: '[::1]', authority: '[::1]:8443' });
  t.match(accepted('/', '[0:0:0:0:0:0:0:1]'), { host: '[::1]', authority: '[::1]' });
  t.match(accepted('/', '[2001:DB8::A]'), { host: '[2001:db8::a]' });
  t.match(accepted('/', '127.0.0.1:80'), { host: '127.0.0.1', authority: '127.0.0.1:80' });
  t.match(accepted('/', 'my_svc'), { host: 'my_svc' });
  t.end();
});

t.test('a doubtful Host is refused as host_malformed', (t) => {
  const hosts = [
    '',
    '.',
    '..',
    'a..test',
    '.a.test',
    'a.test..',
    'svc.test, locked.test',
    'svc.test locked.test',
    'u@a.test',
    'u:p@a.test',
    'a.test:',
    'a.test:0',
    'a.test:080',
    'a.test:65536',
    'a.test:99999999999',
    'a.test:+80',
    'a.test:80:80',
    'a.test/x',
    'a.test?x',
    'a.test#x',
    'a%2etest',
    'a.test%00',
    '\u212A.test',
    'b\u00fccher.test',
    '[::1',
    '::1',
    '[::1]x',
    '[::1]:',
    '[fe80::1%25eth0]',
    '[v1.x]',
    '[]',
    '[::g]',
    'a'.repeat(300),
  ];
  for (const host of hosts) t.equal(reasonOf('/', host), 'host_malformed', host);
  t.end();
});

t.test('absolute-form is taken only when it names the same authority as Host', (t) => {
  t.match(accepted('http://svc.test/x?y'), { host: 'svc.test', path: '/x', query: '?y' });
  t.match(accepted('HTTPS://SVC.test./x'), { host: 'svc.test', path: '/x' });
  t.match(accepted('http://svc.test'), { path: '/', query: '' });
  t.match(accepted('http://svc.test?y'), { path: '/', query: '?y' });
  t.equal(reasonOf('http://locked.test/x'), 'host_malformed');
  t.equal(reasonOf('http://svc.test:8080/x'), 'host_malformed');
  t.equal(reasonOf('http://u@svc.test/x'), 'host_malformed');
  t.equal(reasonOf('http:///x'), 'host_malformed');
  t.equal(reasonOf('http://svc.test\\@locked.test/x'), 'host_malformed');
  t.equal(reasonOf('http://svc.test//admin'), 'path_ambiguous');
  t.equal(reasonOf('http://svc.test/../admin'), 'path_ambiguous');
  t.end();
});

t.test('any other form of target is refused as target_malformed', (t) => {
  for (const url of [
    '',
    '*',
    'admin/x',
    '?x',
    'svc.test:80',
    'ftp://svc.test/x',
    'http:/svc.test/x',
    'http:x',
  ]) {
    t.equal(reasonOf(url), 'target_malformed', url);
  }
  t.equal(reasonOf('*', 'svc.test', 'OPTIONS'), 'target_malformed');
  t.end();
});

t.test('a target over 16 KiB is refused as uri_too_long before anything reads it', (t) => {
  t.equal(reasonOf(`/${'a'.repeat(16 * 1024)}`), 'uri_too_long');
  t.equal(reasonOf(`/${'a'.repeat(16 * 1024 - 1)}`), 'ok');
  t.equal(reasonOf(`/a?${'a'.repeat(20_000)}`), 'uri_too_long');
  t.end();
});
