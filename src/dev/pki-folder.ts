import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { parseCertificate } from '../identity/certificate.js';
import { readPemCertificates } from '../identity/pem.js';
import { parseSpiffeId } from '../identity/spiffe-id.js';
import { type Authority, loadAuthority, type RevokedSerial } from './pki.js';

/** Something that the user can put right: said in one line, without a stack. */
export class PkiError extends Error {}

export type AuthorityName = 'root' | 'intermediate';

/** A development CA as files: NAME.pem and NAME-key.pem of each authority, bundle.pem, and NAME-revoked.json beside its list. */
export class PkiFolder {
  constructor(readonly path: string) {}

  file(name: string): string {
    return join(this.path, name);
  }

  /** The authority of this name; undefined when the folder has none. */
  async readAuthority(name: AuthorityName): Promise<Authority | undefined> {
    const certificate = await readOptional(this.file(`${name}.pem`));
    if (certificate === undefined) return undefined;
    const key = await readOptional(this.file(`${name}-key.pem`));
    if (key === undefined) throw new PkiError(`${this.file(`${name}-key.pem`)} is missing`);
    const ders = readPemCertificates(certificate);
    const [der] = ders.ok ? ders.value : [];
    const read = der && parseCertificate(der);
    if (der === undefined || !read?.ok)
      throw new PkiError(`${this.file(`${name}.pem`)} is not a certificate`);
    const id = parseSpiffeId(read.value.uriSans[0]);
    if (!id.ok) throw new PkiError(`${this.file(`${name}.pem`)} names no trust domain`);
    return loadAuthority(
      id.value.trustDomain,
      certificate.toString(),
      key.toString(),
      name === 'root' ? [] : [der],
    );
  }

  async requireRoot(): Promise<Authority> {
    const root = await this.readAuthority('root');
    if (!root) throw new PkiError(`${this.path} holds no CA: run pki init first`);
    return root;
  }

  /** Whoever signs leaves: the intermediate where there is one. */
  async readIssuer(): Promise<{ name: AuthorityName; authority: Authority }> {
    const intermediate = await this.readAuthority('intermediate');
    if (intermediate) return { name: 'intermediate', authority: intermediate };
    return { name: 'root', authority: await this.requireRoot() };
  }

  async writeAuthority(name: AuthorityName, authority: Authority): Promise<void> {
    // The key first: a certificate without its key would pass for a CA that cannot be read.
    await writeWhole(this.file(`${name}-key.pem`), authority.keyPem, 0o600);
    await writeWhole(this.file(`${name}.pem`), authority.certPem, 0o644);
  }

  async readRevoked(name: AuthorityName): Promise<RevokedRegister> {
    const file = this.file(`${name}-revoked.json`);
    const bytes = await readOptional(file);
    if (bytes === undefined) return { number: 0, revoked: [] };
    try {
      const { number, revoked } = JSON.parse(bytes.toString()) as Partial<RevokedRegister>;
      if (!Number.isSafeInteger(number) || !Array.isArray(revoked)) throw new TypeError('wrong shape');
      return { number: number ?? 0, revoked };
    } catch (cause) {
      throw new PkiError(`${file} is damaged`, { cause });
    }
  }

  async writeRevoked(name: AuthorityName, register: RevokedRegister): Promise<void> {
    await writeWhole(this.file(`${name}-revoked.json`), `${JSON.stringify(register, null, 2)}\n`, 0o644);
  }
}

export interface RevokedRegister {
  /** Of the last list written: CRL numbers only grow (RFC 5280 5.2.3). */
  readonly number: number;
  readonly revoked: readonly { readonly serial: string; readonly at: string }[];
}

export const revokedSerials = (register: RevokedRegister): RevokedSerial[] =>
  register.revoked.map(({ serial, at }) => ({ serial: evenHex(serial), at: new Date(at) }));

/** Octets, with a leading zero where the number would otherwise read as negative. */
function evenHex(serial: string): string {
  const even = serial.length % 2 === 0 ? serial : `0${serial}`;
  return Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even;
}

export async function readOptional(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return undefined;
    throw new PkiError(`${file} cannot be read (${errorCode(cause)})`, { cause });
  }
}

/** Writes beside the file and renames over it: a reader never meets half of a key or of a bundle. */
export async function writeWhole(file: string, content: string, mode: number): Promise<void> {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(6).toString('hex')}`);
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(temporary, 'wx', mode);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new PkiError(`${file} cannot be written (${errorCode(cause)})`, { cause });
  }
}

const errorCode = (cause: unknown): string =>
  cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
