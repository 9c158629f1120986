import { constants, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext, type SecureContext } from 'node:tls';
import { readPemCertificates } from '../identity/pem.js';

/** The authorities that count for server certificates: those of one file, or the public ones. */
export class Roots {
  #context: SecureContext | undefined;
  /** What the context was made of. */
  #pem: readonly string[] | undefined;

  /** @param file PEM; undefined = the public roots. A file that cannot be read never means those. */
  constructor(readonly file: string | undefined) {}

  /** Another object when the authorities have changed; undefined while there are none. */
  get context(): SecureContext | undefined {
    return this.#context;
  }

  /** Reads them again. @returns what is wrong, where something is: then those of before stay. */
  read(): string | undefined {
    if (this.file === undefined) {
      this.#context ??= contextOf(undefined);
      return undefined;
    }
    try {
      const pem = pemOf(readFileSync(this.file));
      if (JSON.stringify(pem) === JSON.stringify(this.#pem)) return undefined;
      this.#context = contextOf(pem);
      this.#pem = pem;
      return undefined;
    } catch (cause) {
      return `${this.file}: ${(cause as Error).message}`;
    }
  }
}

/** Every certificate, or an error: OpenSSL takes the readable half of a broken file, and takes an empty text for "the public roots". */
function pemOf(bytes: Buffer): string[] {
  const certificates = readPemCertificates(bytes);
  if (!certificates.ok) throw new Error(certificates.error);
  if (certificates.value.length === 0) throw new Error('holds no certificate');
  return certificates.value.map((der) => new X509Certificate(der).toString());
}

const contextOf = (ca: string[] | undefined): SecureContext =>
  createSecureContext({
    ...(ca === undefined ? {} : { ca }),
    minVersion: 'TLSv1.2',
    // Who the server is was settled in the handshake: no other certificate may come later.
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  });
