import t from 'tap';
import { compileForwardPlan, type XfccMode } from '../../../src/message/forward-policy.js';
import { ownXfccElement } from '../../../src/message/identity-headers.js';
import { rewriteRequest } from '../../../src/message/rewrite-request.js';
import {
  decodeXfccCert,
  formatXfcc,
  lastSpiffeId,
  parseXfcc,
  type XfccElement,
} from '../../../src/message/xfcc.js';
import { contextOf, headOf, identityOf, readVectors, valuesOf } from './fixtures.js';

type Elements = readonly (readonly (readonly [string, string])[])[];
interface ParseExpect {
  readonly outcome: string;
  readonly allowed?: readonly string[];
  readonly elements?: Elements;
  readonly lastElementSpiffeId?: string | null;
  readonly certDecoded?: string;
  readonly ifAccepted?: { readonly elements?: Elements; readonly lastElementSpiffeId?: string | null };
}

t.test('every xfcc-parse vector is judged as the vector says', (t) => {
  for (const { id, input, expect, why } of readVectors<string | readonly string[], ParseExpect>(
    'xfcc-parse',
  )) {
    const parsed = parseXfcc(typeof input === 'string' ? [input] : input);
    if (!parsed.ok) {
      t.equal(parsed.error.reason, 'header_malformed', id);
      t.ok(expect.outcome === 'reject' || expect.allowed?.includes('reject'), `${id} refused: ${why}`);
      continue;
    }
    t.ok(expect.outcome === 'accept' || expect.allowed?.includes('accept'), `${id} accepted: ${why}`);
    const wanted = expect.outcome === 'accept' ? expect : expect.ifAccepted;
    if (wanted?.elements !== undefined) t.same(parsed.value, wanted.elements, id);
    if (wanted?.lastElementSpiffeId !== undefined) {
      t.equal(lastSpiffeId(parsed.value) ?? null, wanted.lastElementSpiffeId, id);
    }
    if (expect.certDecoded !== undefined) {
      t.equal(
        decodeXfccCert(parsed.value[0]?.find(([key]) => key === 'Cert')?.[1] ?? ''),
        expect.certDecoded,
        id,
      );
    }
  }
  t.end();
});

interface SerializeInput {
  readonly elements?: Elements;
  readonly der?: string;
}
interface SerializeExpect {
  readonly outcome: string;
  readonly header?: string;
  readonly hash?: string;
  readonly mustNotContain?: readonly string[];
}

t.test('every xfcc-serialize vector is written as the vector says', (t) => {
  for (const { id, input, expect } of readVectors<SerializeInput, SerializeExpect>('xfcc-serialize')) {
    if (input.elements === undefined) {
      // Hash is what identity computed of the DER; here it only has to be written as it is
      t.equal(ownXfccElement(undefined, { sha256: expect.hash ?? '' }), `Hash=${expect.hash}`, id);
      continue;
    }
    const header = formatXfcc(input.elements);
    if (expect.header !== undefined) t.equal(header, expect.header, id);
    for (const text of expect.mustNotContain ?? []) t.notOk(header.includes(text), id);
    t.match(header, /^[ -~]*$/, `${id} is printable ASCII`);
  }
  t.end();
});

interface PolicyInput {
  readonly mode: string;
  readonly connection: string;
  readonly incoming: string | null;
  readonly details: readonly string[];
  readonly proxyUri: string | null;
  readonly client: { readonly uri: string; readonly hash: string } | null;
}

t.test('every xfcc-policy vector of a mode that exists here gives the header it says', (t) => {
  let count = 0;
  for (const { id, input, expect } of readVectors<PolicyInput, { header: string | null }>('xfcc-policy')) {
    // ALWAYS_FORWARD_ONLY passes on what nobody has verified: this proxy does not have it
    if (input.mode === 'ALWAYS_FORWARD_ONLY') continue;
    count++;
    const xfcc = (input.mode === '(unset)' ? 'sanitize' : input.mode.toLowerCase()) as XfccMode;
    const plan = compileForwardPlan(
      { xfcc, spiffeId: true, clientCert: false, headers: [] },
      { spiffeId: input.proxyUri ?? undefined, pseudonym: 'countersign' },
    );
    const client = input.client;
    // what is not verified never becomes an identity: anything but mtls has none
    const identity =
      input.connection === 'mtls' && client !== null
        ? {
            fixed: [],
            xfccElement: ownXfccElement(plan.ownSpiffeId, {
              sha256: client.hash,
              ...(input.details.includes('uri') ? { id: client.uri } : {}),
            }),
          }
        : undefined;
    const head = headOf(input.incoming === null ? [] : [`X-Forwarded-Client-Cert: ${input.incoming}`]);
    const { headers } = rewriteRequest(head, contextOf({ plan, identity, peerTrusted: true }));
    t.same(valuesOf(headers, 'x-forwarded-client-cert'), expect.header === null ? [] : [expect.header], id);
  }
  t.ok(count >= 11, `${count} vectors`);
  t.end();
});

const OWN = 'By=spiffe://a.test/p;Hash=1b65f68a522c858715f5dd951cd0402dc16691778814bf0759822b7a257421d0';
const xfccOf = (mode: XfccMode, peerTrusted: boolean, lines: readonly string[]): string[] => {
  const plan = compileForwardPlan(
    { xfcc: mode, spiffeId: true, clientCert: false, headers: [] },
    { spiffeId: 'spiffe://a.test/p', pseudonym: 'countersign' },
  );
  const head = headOf(lines.map((line) => `X-Forwarded-Client-Cert: ${line}`));
  const { headers } = rewriteRequest(head, contextOf({ plan, identity: identityOf(plan), peerTrusted }));
  return valuesOf(headers, 'x-forwarded-client-cert');
};

t.test('the own element says By, Hash, Subject and URI, in this order', (t) => {
  t.same(xfccOf('sanitize_set', false, []), [`${OWN};Subject="CN=web";URI=spiffe://a.test/web`]);
  t.end();
});

t.test('only a trusted peer may hand an element on, and only a whole one', (t) => {
  const own = `${OWN};Subject="CN=web";URI=spiffe://a.test/web`;
  t.same(xfccOf('append_forward', false, ['URI=spiffe://a.test/admin']), [own]);
  t.same(xfccOf('forward_only', false, ['URI=spiffe://a.test/admin']), []);
  t.same(xfccOf('append_forward', true, ['URI=spiffe://a.test/u', 'By=x']), [
    `URI=spiffe://a.test/u,By=x,${own}`,
  ]);
  t.same(xfccOf('forward_only', true, ['URI=spiffe://a.test/u']), ['URI=spiffe://a.test/u']);
  for (const broken of ['URI="x', 'URI=a"b"', 'Hash=a;Hash=b', ',', 'Subject="x\\"']) {
    t.same(xfccOf('append_forward', true, [broken]), [own], broken);
    t.same(xfccOf('forward_only', true, [broken]), [], broken);
  }
  t.same(
    xfccOf('append_forward', true, ['Subject="a', 'b"']),
    [own],
    'a quote does not reach into the next line',
  );
  t.end();
});

t.test('a quote closes after an even run of backslashes only', (t) => {
  for (let run = 0; run <= 5; run++) {
    const parsed = parseXfcc([`Subject="x${'\\'.repeat(run)}";URI=spiffe://a.test/web`]);
    t.equal(parsed.ok, run % 2 === 0, `${run} backslashes`);
    if (parsed.ok) t.equal(parsed.value[0]?.[0]?.[1], `x${'\\'.repeat(run / 2)}`);
  }
  t.end();
});

t.test('names that end in backslashes come back whole', (t) => {
  for (const subject of ['CN=x\\', 'CN=x\\\\', 'CN=\\"', '"', '\\"\\', '']) {
    const elements: XfccElement[] = [
      [
        ['Subject', subject],
        ['URI', 'spiffe://a.test/web'],
      ],
    ];
    const parsed = parseXfcc([formatXfcc(elements)]);
    t.same(parsed.ok && parsed.value, elements, subject);
  }
  t.end();
});

t.test('only the last element gives an identity, and only with exactly one SPIFFE URI', (t) => {
  const idOf = (text: string): string | undefined => {
    const parsed = parseXfcc([text]);
    return parsed.ok ? lastSpiffeId(parsed.value) : undefined;
  };
  t.equal(idOf('URI=spiffe://a.test/u,By=x'), undefined);
  t.equal(idOf('uri=spiffe://a.test/u'), 'spiffe://a.test/u');
  t.equal(idOf('URI=spiffe://A.test/u'), undefined);
  t.equal(idOf('URI=https://a.test/u'), undefined);
  t.equal(lastSpiffeId([]), undefined);
  t.end();
});

t.test('a header of escapes alone is read in linear time', (t) => {
  const text = `Subject="${'\\"'.repeat(30_000)}"`;
  t.equal(parseXfcc([text]).ok, true);
  const long = parseXfcc(['a'.repeat(70_000)]);
  t.equal(long.ok ? 'ok' : long.error.reason, 'header_malformed');
  t.end();
});
