import type { ListenerConfig } from '../config/config.js';
import type { Certificate } from '../identity/certificate.js';
import { parseServerCertificate, whyServerCertificateIsOver } from '../identity/server-certificate.js';
import { err, ok } from '../reasons.js';
import type { ServerCertificate } from '../snapshot.js';
import { FileSource } from './file-source.js';
import { whyUnusable } from './own-svid.js';
import type { SourceHost } from './source.js';

/** What clients that know no SPIFFE see of one listener. */
export interface LoadedServerCertificate extends ServerCertificate {
  readonly leaf: Certificate;
}

type Settings = NonNullable<ListenerConfig['serverCertificate']>;

/** A certificate and its key: one source, so that neither is ever shown with the other's predecessor. */
export function serverCertificateSource(
  listener: string,
  { certificateFile, keyFile, names }: Settings,
  host: Pick<SourceHost, 'nowMs' | 'clockSkewMs'>,
): FileSource<LoadedServerCertificate> {
  return new FileSource<LoadedServerCertificate>({
    name: `server-certificate:${listener}`,
    files: () => [certificateFile, keyFile],
    outdated: ({ leaf }) => whyServerCertificateIsOver(leaf, host.nowMs()),
    parse: (contents) => {
      const certificate = contents.get(certificateFile) ?? Buffer.alloc(0);
      const key = contents.get(keyFile) ?? Buffer.alloc(0);
      const chain = parseServerCertificate(certificate, key, {
        names,
        nowMs: host.nowMs(),
        clockSkewMs: host.clockSkewMs,
      });
      if (!chain.ok) {
        const { part, message } = chain.error;
        return err(`${part === 'key' ? keyFile : certificateFile}: ${message}`);
      }
      const shown = { certificatePem: certificate.toString('latin1'), keyPem: key.toString('latin1') };
      const unusable = whyUnusable(shown);
      return unusable === undefined
        ? ok({ ...chain.value, ...shown })
        : err(`${certificateFile}: ${unusable}`);
    },
  });
}
