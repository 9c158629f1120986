import t from 'tap';
import { parsePathPattern } from '../../../src/policy/pattern.js';
import { compileRoutes, matchRoute, type RouteSpec } from '../../../src/policy/route-table.js';

const route = (name: string, host: string | undefined, path: string): RouteSpec => {
  const pattern = parsePathPattern(path);
  if (!pattern.ok) throw new Error(pattern.error);
  return { name, host, path: pattern.value };
};

t.test('the most specific route wins, whatever the order in the file', async (t) => {
  const routes = [
    route('any', undefined, '/**'),
    route('any-exact', undefined, '/public/logo'),
    route('svc', 'svc.test', '/**'),
    route('public', 'svc.test', '/public/**'),
    route('public-star', 'svc.test', '/public/*'),
    route('public-a', 'svc.test', '/public/a'),
    route('public-a-below', 'svc.test', '/public/a/**'),
    route('star-b', 'svc.test', '/*/b'),
    route('other', 'other.test', '/x'),
  ];
  const cases: readonly [host: string, path: string, name: string | undefined][] = [
    ['svc.test', '/', 'svc'],
    ['svc.test', '/public', 'public'],
    ['svc.test', '/public/', 'public'],
    ['svc.test', '/public/z', 'public-star'],
    ['svc.test', '/public/a', 'public-a'],
    ['svc.test', '/public/a/b', 'public-a-below'],
    ['svc.test', '/public/b', 'public-star'],
    ['svc.test', '/z/b', 'star-b'],
    ['svc.test', '/publicity', 'svc'],
    ['svc.test', '/public/logo', 'public-star'],
    ['other.test', '/x', 'other'],
    ['other.test', '/public/logo', 'any-exact'],
    ['unknown.test', '/x', 'any'],
  ];
  for (const table of [compileRoutes(routes), compileRoutes([...routes].reverse())]) {
    for (const [host, path, name] of cases) {
      t.equal(matchRoute(table, host, path)?.name, name, `${host}${path}`);
    }
  }
});

t.test('of two equal routes the first in the file is taken', async (t) => {
  const table = compileRoutes([route('first', undefined, '/a/**'), route('second', undefined, '/a/**')]);
  t.equal(matchRoute(table, 'h', '/a/b')?.name, 'first');
});

t.test('no route is no route: neither part of a host nor part of a segment matches', async (t) => {
  const table = compileRoutes([route('only', 'svc.test', '/admin/**')]);
  for (const [host, path] of [
    ['svc.test', '/administrator'],
    ['svc.test', '/ADMIN/x'],
    ['svc.test.evil', '/admin/x'],
    ['xsvc.test', '/admin/x'],
    ['', '/admin/x'],
    ['__proto__', '/admin/x'],
  ] as const) {
    t.equal(matchRoute(table, host, path), undefined, `${host}${path}`);
  }
});
