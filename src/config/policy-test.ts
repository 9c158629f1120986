import { z } from 'zod';
import type { PrincipalId } from '../identity/principal-id.js';
import { problemOfReadHeader } from '../message/header-names.js';
import { DELEGATION_SOURCES, type Delegation } from '../policy/delegation.js';
import { CREDENTIAL_KINDS, type CredentialFacts } from '../policy/facts.js';
import type { Effect } from '../policy/policy.js';
import type { Problem } from './problem.js';
import { recordedClaim } from './recorded-values.js';
import { duration, name, oneOf, principalId, text, timestamp } from './schema-values.js';

/** One of the policy file's own examples. Plain data. */
export interface PolicyTest {
  readonly as: PrincipalId;
  readonly behalfOf: PrincipalId | undefined;
  readonly through: readonly string[] | undefined;
  readonly by: Delegation['by'] | undefined;
  readonly method: string;
  readonly url: string;
  readonly listener: string | undefined;
  readonly atMs: number | undefined;
  readonly facts: PolicyTestFacts;
  readonly expect: Effect;
  readonly rule: string | undefined;
  readonly exception: string | undefined;
  readonly shadow: Effect | undefined;
  readonly place: Omit<Problem, 'message'>;
}

/** What conditions may read; what is left out is not known. */
export interface PolicyTestFacts {
  /** All of those that conditions may read, by lower-case name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** All of those that conditions may read. */
  readonly claims?: Readonly<Record<string, string>> | undefined;
  readonly kind?: CredentialFacts['kind'] | undefined;
  readonly notBeforeMs?: number | undefined;
  readonly notAfterMs?: number | undefined;
  /** In place of the dates, from the moment of the test. */
  readonly ageMs?: number | undefined;
  readonly remainingMs?: number | undefined;
  readonly issuer?: string | undefined;
  readonly tlsVersion?: string | undefined;
  readonly resumed?: boolean | undefined;
}

const MAX_SPAN_MS = 100 * 366 * 86_400_000;
const span = (description: string) => duration(description, { minMs: 0, maxMs: MAX_SPAN_MS });

const header = z.string().superRefine((value, context) => {
  const wrong = problemOfReadHeader(value);
  if (wrong !== undefined) context.addIssue({ code: 'custom', message: wrong });
});

const credential = z
  .strictObject({
    kind: oneOf('What the caller showed; left out: x509 of a SPIFFE ID, oidc of another name.', [
      ...CREDENTIAL_KINDS,
    ]).optional(),
    notBefore: timestamp('Begin of its validity.').optional(),
    notAfter: timestamp('End of its validity.').optional(),
    age: span('In place of notBefore: how long ago it began.').optional(),
    remaining: span('In place of notAfter: how long it lasts yet.').optional(),
    issuer: text('Distinguished name of its issuer, or the `iss` of a token, as records have it.').optional(),
  })
  .refine(({ notBefore, age }) => notBefore === undefined || age === undefined, {
    path: ['age'],
    message: 'say `age` or `notBefore`, not both',
  })
  .refine(({ notAfter, remaining }) => notAfter === undefined || remaining === undefined, {
    path: ['remaining'],
    message: 'say `remaining` or `notAfter`, not both',
  })
  .describe('The credential of the caller, as far as conditions read it.');

export const policyTestSchema = z
  .strictObject({
    as: principalId('SPIFFE ID of the caller, or the name that its token gives.'),
    behalfOf: principalId('Whom the caller acts for; left out: for itself.').optional(),
    through: z
      .array(principalId('Who acted.'))
      .max(8, 'must name at most 8')
      .describe('Who acted before the caller, the first for the subject.')
      .optional(),
    by: oneOf('What says on whose behalf.', [...DELEGATION_SOURCES]).optional(),
    request: z
      .string()
      .regex(/^[A-Z][A-Z-]{0,31} \S+$/, 'must be a method, one space and a URL')
      .describe('Method and URL: GET https://billing.internal/invoices/7'),
    listener: name('Listener that gets the request.').optional(),
    at: timestamp('When.').optional(),
    headers: z
      .record(header, z.string().max(4096, 'must be at most 4096 characters'))
      .describe('Headers that conditions read, by lower-case name; those left out are not there.')
      .optional(),
    claims: z
      .record(recordedClaim, z.string().max(4096, 'must be at most 4096 characters'))
      .describe('Claims of the token that conditions read; those left out are not there.')
      .optional(),
    credential: credential.optional(),
    tls: z
      .enum(['1.2', '1.3'], { error: () => 'must be "1.2" or "1.3", in quotes' })
      .describe('Version of TLS.')
      .optional(),
    resumed: z.boolean().describe('Whether the TLS session was resumed.').optional(),
    expect: oneOf('The right answer.', ['allow', 'deny']),
    rule: name('The rule that must decide.').optional(),
    exception: name('The exception that must let it in.').optional(),
    shadow: oneOf('The right answer of the policy that is tried out.', ['allow', 'deny']).optional(),
  })
  .superRefine(({ behalfOf, through, by }, context) => {
    for (const [key, value] of Object.entries({ through, by }))
      if (behalfOf === undefined && value !== undefined)
        context.addIssue({ code: 'custom', message: 'goes with `behalfOf`', path: [key] });
  });

type RawTest = z.output<typeof policyTestSchema>;

/** A test as it was read, and where it stands. */
export function toPolicyTest(raw: RawTest, { message: _, ...place }: Problem): PolicyTest {
  const space = raw.request.indexOf(' ');
  return {
    as: raw.as,
    behalfOf: raw.behalfOf,
    through: raw.through?.map(({ uri }) => uri),
    by: raw.by,
    method: raw.request.slice(0, space),
    url: raw.request.slice(space + 1),
    listener: raw.listener,
    atMs: raw.at,
    facts: toFacts(raw),
    expect: raw.expect,
    rule: raw.rule,
    exception: raw.exception,
    shadow: raw.shadow,
    place,
  };
}

const toFacts = ({ headers, claims, credential, tls, resumed }: RawTest): PolicyTestFacts => ({
  headers,
  claims,
  kind: credential?.kind,
  notBeforeMs: credential?.notBefore,
  notAfterMs: credential?.notAfter,
  ageMs: credential?.age,
  remainingMs: credential?.remaining,
  issuer: credential?.issuer,
  tlsVersion: tls === undefined ? undefined : `TLSv${tls}`,
  resumed,
});
