import type { UpstreamTarget } from '../config/config.js';
import { Failure } from '../reasons.js';
import type { Carrier, Connector, Opening, OpenOptions } from './connector.js';

/** Where nobody can say who a server is, nothing is sent to it. */
export class RefusingConnector implements Connector {
  constructor(
    readonly target: UpstreamTarget,
    readonly problem: string,
  ) {}

  open(_options: OpenOptions, done: (result: Carrier | Failure) => void): Opening {
    const handle = setImmediate(() => done(new Failure('upstream_untrusted', this.problem)));
    return { cancel: () => clearImmediate(handle) };
  }
}
