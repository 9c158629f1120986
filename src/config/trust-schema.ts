import { z } from 'zod';
import { parseBundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { parseEndpointSocket } from './endpoint-socket.js';
import { duration, oneOf, place, placeLike, text, trustDomain, workloadId } from './schema-values.js';

const socket = placeLike('unix:///run/spire/agent.sock or tcp://127.0.0.1:8000.', parseEndpointSocket);

export const identity = z
  .strictObject({
    files: z
      .strictObject({
        certificate: place('PEM: our X509-SVID, then its intermediates.'),
        key: place('PEM: the private key of the certificate.'),
      })
      .optional(),
    workloadApi: z
      .strictObject({
        socket: socket.optional(),
        id: workloadId('Which of several SVIDs to present; left out = by hint, or the first.').optional(),
        hint: text('Hint of the SVID to present.', 1024).optional(),
      })
      .describe('SPIFFE Workload API; without `socket`, SPIFFE_ENDPOINT_SOCKET says where it is.')
      .optional(),
    clockSkew: duration('How far ahead of our clock a notBefore may be.', {
      minMs: 0,
      maxMs: 600_000,
    }).prefault('0s'),
    maxSvidLifetime: duration('Refuse credentials that live longer than this.', {
      maxMs: 3_660 * 86_400_000,
    }).optional(),
    flagSvidLifetime: duration('Record credentials that live longer than this.', {
      maxMs: 3_660 * 86_400_000,
    }).optional(),
  })
  .superRefine(({ files, workloadApi }, context) => {
    if (files === undefined && workloadApi === undefined) {
      context.addIssue({
        code: 'custom',
        message: 'must say where our own SVID comes from: `files` or `workloadApi`',
      });
    }
    if (files !== undefined && workloadApi !== undefined) {
      const message = 'our own SVID comes from one place: `files` or `workloadApi`, not both';
      context.addIssue({ code: 'custom', message, path: ['workloadApi'] });
    }
    if (workloadApi?.id !== undefined && workloadApi.hint !== undefined) {
      context.addIssue({ code: 'custom', message: 'goes by `id` already', path: ['workloadApi', 'hint'] });
    }
  })
  .describe('Who this sidecar is.');

const revocation = z
  .strictObject({
    crls: z.array(place('CRL, PEM or DER.')).default([]),
    require: oneOf('Whose status must be known.', ['none', 'leaf', 'chain']).default('none'),
    stale: oneOf('A CRL past its nextUpdate: refuse the domain, or go on with its entries.', [
      'deny',
      'use',
    ]).default('deny'),
    staleGrace: duration('How long past nextUpdate a CRL still counts as fresh.', {
      minMs: 0,
      maxMs: 3_660 * 86_400_000,
    }).prefault('0s'),
  })
  .describe('Certificate revocation lists of this trust domain.');

const endpoint = z
  .strictObject({
    url: placeLike('https://host/path', parseBundleEndpointUrl),
    profile: oneOf('How the endpoint proves itself: by the web PKI, or by its own SVID.', [
      'https_web',
      'https_spiffe',
    ]),
    spiffeId: workloadId('https_spiffe: the SPIFFE ID that the endpoint must have.').optional(),
    ca: place('https_web: PEM of the CAs that count, in place of the public ones.').optional(),
    bootstrap: place('The bundle to begin with, PEM or SPIFFE bundle JSON.').optional(),
    store: place('Where the last good bundle is kept, so that a restart does not lose it.').optional(),
  })
  .superRefine((value, context) => {
    const complain = (message: string, key: string): void => {
      context.addIssue({ code: 'custom', message, path: [key] });
    };
    if (value.profile === 'https_spiffe' && value.spiffeId === undefined)
      context.addIssue({ code: 'custom', message: 'https_spiffe needs the `spiffeId` of the endpoint' });
    if (value.profile === 'https_web' && value.spiffeId !== undefined)
      complain('is not checked by https_web; it goes with https_spiffe', 'spiffeId');
    if (value.profile === 'https_spiffe' && value.ca !== undefined)
      complain('has no part in https_spiffe, which goes by the bundle of the endpoint', 'ca');
  })
  .describe('SPIFFE bundle endpoint (federation).');

const BUNDLE_ORIGINS = '`file`, `workloadApi: true` or `endpoint`';

const bundle = z
  .strictObject({
    file: place('PEM or SPIFFE bundle JSON.').optional(),
    workloadApi: z.literal(true).describe('As the SPIFFE Workload API gives it.').optional(),
    endpoint: endpoint.optional(),
  })
  .superRefine((value, context) => {
    const given = Object.keys(value);
    if (given.length === 0)
      context.addIssue({
        code: 'custom',
        message: `must say where the bundle comes from: ${BUNDLE_ORIGINS}`,
      });
    if (given.length > 1) {
      const message = `a bundle comes from one place: ${BUNDLE_ORIGINS}`;
      context.addIssue({ code: 'custom', message, path: [given[1]!] });
    }
  });

const trustEntry = z
  .strictObject({
    trustDomain: trustDomain('Name of the trust domain, such as example.org.').optional(),
    bundle: bundle.optional(),
    revocation: revocation.optional(),
    folder: place('Folder with one bundle a file, named after its trust domain: example.org.pem.').optional(),
  })
  .superRefine((value, context) => {
    const complain = (message: string, ...path: string[]): void => {
      context.addIssue({ code: 'custom', message, path });
    };
    if (value.folder === undefined) {
      if (value.trustDomain === undefined) complain('needs a `trustDomain`, or a `folder` of bundles');
      else if (value.bundle === undefined) complain('needs a `bundle`');
      return;
    }
    for (const key of ['trustDomain', 'bundle', 'revocation'] as const) {
      if (value[key] === undefined) continue;
      complain('does not go with `folder`, whose files say it; give the domain an entry of its own', key);
    }
  });

export const trust = z
  .array(trustEntry)
  .min(1, 'must name at least one trust domain')
  .describe('Whom we can authenticate: one entry a trust domain, never pooled.');
