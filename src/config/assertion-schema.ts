import { z } from 'zod';
import { duration, oneOf, place, text, workloadId } from './schema-values.js';
import { audiences, keySet } from './token-schema.js';

export const assertion = z
  .strictObject({
    key: place(
      'Private JWK (Ed25519, or P-256 for ES256), or a set of them: the first signs, all are published.',
    ),
    audience: text(
      '`aud` for routes that name none of their own; left out = those get no assertion.',
      512,
    ).optional(),
    lifetime: duration('Life of an assertion; never longer than that of the credential.', {
      minMs: 5000,
      maxMs: 3_600_000,
    }).prefault('60s'),
    overlap: duration('For how long a key that has left the file is still published.', {
      minMs: 60_000,
      maxMs: 7 * 86_400_000,
    }).prefault('1h'),
    jwksFile: place('Where the public keys are kept as a JWK Set, for services that read a file.').optional(),
  })
  .describe('x-identity-assertion: a JWT signed by this sidecar, that says who calls and for whom.');

export const delegates = z
  .array(
    z
      .strictObject({
        spiffeId: workloadId('The peer, exactly.'),
        by: oneOf('assertion: what its own sidecar signed. xfcc: its x-forwarded-client-cert is believed.', [
          'assertion',
          'xfcc',
        ]),
        issuer: workloadId(
          'assertion: SPIFFE ID of the sidecar that signs; left out = the peer itself.',
        ).optional(),
        audience: audiences.optional(),
        jwks: keySet.optional(),
      })
      .superRefine(({ by, issuer, audience, jwks }, context) => {
        const complain = (key: string, message: string): void => {
          context.addIssue({ code: 'custom', message, path: [key] });
        };
        for (const [key, value] of Object.entries({ audience, jwks })) {
          if (by === 'assertion' && value === undefined) complain(key, 'is required with `by: assertion`');
          if (by === 'xfcc' && value !== undefined) complain(key, 'goes with `by: assertion`');
        }
        if (by === 'xfcc' && issuer !== undefined) complain('issuer', 'goes with `by: assertion`');
      }),
  )
  .default([])
  .describe('Peers that may say on whose behalf they act, where a route takes that.');
