import type { UpstreamConfig } from '../config/config.js';
import { AutoPool } from './auto-pool.js';
import type { CallPool, PoolOptions } from './call-pool.js';
import { Http1Pool } from './http1-pool.js';
import { Http2Pool } from './http2-pool.js';

const MAKE = {
  'http/1.1': (options: PoolOptions): CallPool => new Http1Pool(options),
  h2: (options: PoolOptions): CallPool => new Http2Pool(options),
};

/** The connections of what an upstream speaks; undefined where that is no HTTP. */
export function createPool(protocol: UpstreamConfig['protocol'], options: PoolOptions): CallPool | undefined {
  switch (protocol) {
    case 'http1':
      return MAKE['http/1.1'](options);
    case 'http2':
      return MAKE.h2(options);
    case 'auto':
      return new AutoPool(options, MAKE);
    case 'tcp':
      return undefined;
  }
}
