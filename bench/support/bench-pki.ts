import { type Authority, mintRoot, type Svid } from '../../src/dev/pki.js';
import { CALLER } from './bench-rules.js';
import { HOST, type PemIdentity } from './raw-connection.js';
import type { WorkFolder } from './work-folder.js';

export interface BenchPki {
  readonly root: Authority;
  /** Another domain's authority, for impostors. */
  readonly foreign: Authority;
  readonly caller: PemIdentity;
  readonly files: {
    readonly ca: string;
    readonly certificate: string;
    readonly key: string;
    /** Both in one file, as HAProxy takes them. */
    readonly combined: string;
  };
  /** A fresh certificate and key for this ID (the caller's by default). */
  mint(id?: string): Promise<PemIdentity>;
}

/** ECDSA P-256 throughout, leaves straight under the root: the same for every subject. */
export async function mintBenchPki(folder: WorkFolder): Promise<BenchPki> {
  const root = await mintRoot('example.org');
  const foreign = await mintRoot('example.org', { subject: 'O=Somebody else,CN=impostor root' });
  const server = await root.issue('spiffe://example.org/ns/prod/sa/sidecar', {
    subject: 'O=Bench,CN=sidecar',
    otherSans: [`DNS:${HOST}`],
    ttlMs: 86_400_000,
  });
  const mint = async (id = CALLER): Promise<PemIdentity> => pemOf(await issueClient(root, id));
  return {
    root,
    foreign,
    caller: await mint(),
    files: {
      ca: folder.write('bundle.pem', root.certPem),
      certificate: folder.write('server.pem', server.chainPem),
      key: folder.write('server-key.pem', server.keyPem),
      combined: folder.write('server-both.pem', server.chainPem + server.keyPem),
    },
    mint,
  };
}

/** A client certificate of any authority. */
export async function mintFrom(authority: Authority, id: string): Promise<PemIdentity> {
  return pemOf(await issueClient(authority, id));
}

const issueClient = (authority: Authority, id: string): Promise<Svid> =>
  authority.issue(id, { subject: 'O=Bench,CN=web', ttlMs: 86_400_000 });

const pemOf = (svid: Svid): PemIdentity => ({ certificate: svid.chainPem, key: svid.keyPem });
