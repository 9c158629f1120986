import { z } from 'zod';
import { parseCollectorUrl } from './otlp.js';
import { duration, name, place, placeLike, size } from './schema-values.js';

const VALUE = 'must be text, or { file: FILE }';

/** Never shown in a message: it may be a credential. */
const headerValue = z.union(
  [
    place('The value; environment variables are put in.'),
    z.strictObject({ file: place('File that holds it, and may be replaced.') }),
  ],
  { error: VALUE },
);

export const otlp = z
  .strictObject({
    url: placeLike('http://127.0.0.1:4318/v1/logs, or https://', parseCollectorUrl),
    headers: z
      .record(z.string(), headerValue)
      .default({})
      .describe('Header fields of every export, such as credentials.'),
    ca: place('PEM of the CAs that count for https; left out = the public ones.').optional(),
    allowPlaintext: z
      .boolean()
      .default(false)
      .describe('Needed for http:// to any address that is not loopback.'),
    timeout: duration('How long the collector has to take a batch, and the last ones at shutdown.', {
      maxMs: 60_000,
    }).prefault('10s'),
    retryFor: duration('How long one batch is tried; then it is given up.', {
      minMs: 1000,
      maxMs: 86_400_000,
    }).prefault('1h'),
    queue: size(
      'Records that wait for the collector; beyond it they are given up.',
      1024 ** 2,
      1024 ** 3,
    ).prefault('32MiB'),
    serviceName: name('The resource attribute service.name.').default('countersign'),
  })
  .describe('A copy of the records to an OpenTelemetry collector, by OTLP over HTTP.');

export type RawOtlp = z.output<typeof otlp>;
