import fc from 'fast-check';
import t from 'tap';
import { parseExternalAnswer } from '../../../src/policy/external-answer.js';

const read = (text: string) => parseExternalAnswer(Buffer.from(text));

t.test(
  'true, false and an object with `allow` are answers, with id, reason and ttl where they are given',
  async (t) => {
    const plain = { id: undefined, detail: '', ttlMs: 0 };
    t.same(read('{"result":true}'), { ok: true, value: { ...plain, effect: 'allow' } });
    t.same(read('{"result":false,"decision_id":"d-1","metrics":{"x":[1]}}'), {
      ok: true,
      value: { ...plain, effect: 'deny', id: 'd-1' },
    });
    t.same(read('{"result":{"allow":true,"reason":"on call","ttl":"30s"},"decision_id":"d-2"}'), {
      ok: true,
      value: { effect: 'allow', id: 'd-2', detail: 'on call', ttlMs: 30_000 },
    });
    t.match(read('{"result":{"allow":false,"ttl":"250ms"}}'), { value: { effect: 'deny', ttlMs: 250 } });
  },
);

t.test('without a result the answer is a deny, and says that there is no such document', async (t) => {
  t.match(read('{}'), { ok: true, value: { effect: 'deny', detail: /no such document/, ttlMs: 0 } });
  t.match(read('{"decision_id":"d-3"}'), { ok: true, value: { effect: 'deny', id: 'd-3' } });
});

t.test('a ttl beyond five minutes is five minutes', async (t) => {
  t.match(read('{"result":{"allow":true,"ttl":"5m"}}'), { value: { ttlMs: 300_000 } });
  t.match(read('{"result":{"allow":true,"ttl":"999999999m"}}'), { value: { ttlMs: 300_000 } });
  t.match(read('{"result":{"allow":true,"ttl":"0s"}}'), { value: { ttlMs: 0 } });
});

t.test('long words of the engine are cut', async (t) => {
  const answer = read(
    JSON.stringify({ result: { allow: false, reason: 'r'.repeat(999) }, decision_id: 'i'.repeat(999) }),
  );
  t.equal(answer.ok && answer.value.detail.length, 200);
  t.equal(answer.ok && answer.value.id?.length, 128);
});

const NO_ANSWERS: readonly [text: string, problem: RegExp][] = [
  ['', /not the JSON/],
  ['<html>', /not the JSON/],
  ['{"result":true', /not the JSON/],
  ['{"result":true} {"result":true}', /not the JSON/],
  ['{"result":false,"result":true}', /not the JSON/],
  ['{"result":false,"\\u0072esult":true}', /not the JSON/],
  ['{"result":{"allow":false,"allow":true}}', /not the JSON/],
  [`{"result":${'['.repeat(500)}${']'.repeat(500)}}`, /not the JSON/],
  ['\ufeff{"result":true}', /not the JSON/],
  ['true', /no JSON object/],
  ['[true]', /no JSON object/],
  ['null', /no JSON object/],
  ['{"result":null}', /neither true, false/],
  ['{"result":"true"}', /neither true, false/],
  ['{"result":"allow"}', /neither true, false/],
  ['{"result":1}', /neither true, false/],
  ['{"result":[{"allow":true}]}', /neither true, false/],
  ['{"result":[true]}', /neither true, false/],
  ['{"result":{}}', /`result.allow` must be true or false/],
  ['{"result":{"allow":"true"}}', /`result.allow` must be true or false/],
  ['{"result":{"allow":1}}', /`result.allow` must be true or false/],
  ['{"result":{"allow":null}}', /`result.allow` must be true or false/],
  ['{"result":{"allow":true,"deny":["no"]}}', /`result.deny` is not known/],
  ['{"result":{"allow":true,"__proto__":{}}}', /`result.__proto__` is not known/],
  ['{"result":{"Allow":true}}', /`result.Allow` is not known/],
  ['{"result":{"allow":true,"reason":7}}', /`result.reason` must be text/],
  ['{"result":{"allow":true,"ttl":30}}', /`result.ttl` must be text/],
  ['{"result":{"allow":true,"ttl":"30"}}', /`result.ttl` must be text/],
  ['{"result":{"allow":true,"ttl":"-1s"}}', /`result.ttl` must be text/],
  ['{"result":{"allow":true,"ttl":"1h"}}', /`result.ttl` must be text/],
  ['{"result":{"allow":true,"ttl":" 1s"}}', /`result.ttl` must be text/],
  ['{"result":{"allow":true,"ttl":null}}', /`result.ttl` must be text/],
];

t.test('anything else is no answer, and the problem says why', async (t) => {
  for (const [text, problem] of NO_ANSWERS) {
    const answer = read(text);
    t.equal(answer.ok, false, text.slice(0, 60));
    t.match(answer.ok ? '' : answer.error, problem, text.slice(0, 60));
  }
  t.equal(parseExternalAnswer(Buffer.from('{"result":true,"x":"\xff"}', 'latin1')).ok, false, 'not UTF-8');
});

t.test('only true, or an object whose allow is true, is ever an allow', async (t) => {
  const value = fc.oneof(fc.boolean(), fc.constantFrom('true', 'allow', '30s', '', null, 1), fc.json());
  const member = fc.tuple(fc.constantFrom('allow', 'reason', 'ttl', 'deny'), value);
  const result = fc.oneof(value, fc.array(member, { maxLength: 3 }).map(Object.fromEntries), fc.array(value));
  let allowed = 0;
  const property = fc.property(result, (result: unknown) => {
    const answer = read(JSON.stringify({ result }));
    const isYes = result === true || (result as { allow?: unknown } | null)?.allow === true;
    if (!answer.ok || answer.value.effect === 'deny') return true;
    allowed++;
    return isYes;
  });
  fc.assert(property, { numRuns: 5000, seed: 7 });
  t.ok(allowed > 100, 'the property has something to look at');
});

t.test('bytes that are no answer never throw', async (t) => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    const answer = parseExternalAnswer(bytes);
    return !answer.ok || answer.value.effect === 'deny';
  });
  fc.assert(property, { numRuns: 2000, seed: 7 });
  t.pass();
});
