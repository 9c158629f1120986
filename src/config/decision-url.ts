import type { Result } from '../reasons.js';
import { type HttpUrl, parseHttpUrl } from './http-url.js';

/** Where an external engine is asked. */
export type DecisionUrl = HttpUrl;

const DOCUMENT = /\/v1\/data\/[^/]/;

/** `http(s)://host[:port]/v1/data/PATH`: one document of OPA's data API. A query is sent as it stands. */
export const parseDecisionUrl = (text: string): Result<DecisionUrl, string> =>
  parseHttpUrl(text, 'http://host:port/v1/data/PATH', (path) => {
    if (/\/v1\/batch\//.test(path)) return 'the batch API is not used; write /v1/data/PATH';
    return DOCUMENT.test(path) ? undefined : 'must name one document: /v1/data/ and its path';
  });
