import type { UpstreamConfig } from '../config/config.js';
import type { CallPool, PoolOptions } from './call-pool.js';
import { Http1Pool } from './http1-pool.js';

/** The connections of what an upstream speaks; undefined where that is no HTTP. */
export function createPool(protocol: UpstreamConfig['protocol'], options: PoolOptions): CallPool | undefined {
  return protocol === 'tcp' ? undefined : new Http1Pool(options);
}
