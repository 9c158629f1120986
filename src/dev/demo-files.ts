import { mkdtempSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, mintRoot, type Svid } from './pki.js';

const ID = 'spiffe://example.org/ns/prod/sa';
export const demoIds = {
  sidecar: `${ID}/invoices`,
  web: `${ID}/web`,
  batch: `${ID}/batch`,
  buyer: 'spiffe://partner.example/buyer',
  stranger: 'spiffe://stranger.example/web',
} as const;

const POLICY = `version: 1
default: deny
rules:
  - id: web-reads-invoices
    owner: team-payments
    effect: allow
    principals: ["spiffe://example.org/ns/*/sa/web"]
    destinations: [billing]
    methods: [GET, HEAD]
    paths: ["/invoices/**"]
  - id: batch-writes-invoices
    owner: team-batch
    effect: allow
    principals: ["${demoIds.batch}"]
    destinations: [billing]
    methods: [POST]
    paths: ["/invoices/*"]
  - id: partner-reads-catalogue
    owner: team-partners
    effect: allow
    principals: ["spiffe://partner.example/**"]
    destinations: [catalogue]
    methods: [GET]
  - id: nobody-touches-internals
    owner: team-payments
    effect: deny
    principals: ["spiffe://example.org/**"]
    destinations: [billing]
    paths: ["/invoices/internal/**"]
`;

const configText = (trustConfig: string, upstreamUrl: string): string => `version: 1
${trustConfig}
revocations: revoked.yaml
listeners:
  - name: inbound
    address: 127.0.0.1:0
    routes:
      - { name: invoices, path: /invoices/**, upstream: billing }
      - { name: catalogue, path: /catalogue/**, upstream: billing }
upstreams:
  billing: { url: "${upstreamUrl}" }
policy: policy.yaml
forward: { headers: { X-Remote-User: "{id}" } }
audit: { file: audit.ndjson, seal: { key: seal.jwk, every: 1s } }
admin: { address: 127.0.0.1:0 }
drain: { delay: 0s, deadline: 2s }
`;

/** Everybody's credentials at the start. */
export interface DemoSvids {
  readonly sidecar: Svid;
  readonly web: Svid;
  readonly batch: Svid;
  readonly buyer: Svid;
  /** The partner's CA signed it, and it says that it is our web. */
  readonly impostor: Svid;
  readonly stranger: Svid;
}

/** The demo's folder: a throwaway PKI and the configuration that uses it. */
export class DemoFiles {
  readonly folder = mkdtempSync(join(tmpdir(), 'countersign-demo-'));

  private constructor(
    readonly root: Authority,
    readonly partner: Authority,
    readonly svids: DemoSvids,
  ) {}

  /** Mints everything; writes all but what the sidecar is configured with. */
  static async create(): Promise<DemoFiles> {
    const [root, partner, stranger] = await Promise.all([
      mintRoot('example.org', { subject: 'O=Example,CN=example.org root 1' }),
      mintRoot('partner.example'),
      mintRoot('stranger.example'),
    ]);
    const files = new DemoFiles(root, partner, {
      sidecar: await issueSidecar(root),
      web: await root.issue(demoIds.web),
      batch: await root.issue(demoIds.batch),
      buyer: await partner.issue(demoIds.buyer),
      impostor: await partner.issue(demoIds.web),
      stranger: await stranger.issue(demoIds.stranger),
    });
    files.replace('policy.yaml', POLICY);
    files.replace('revoked.yaml', 'version: 1\nrevoked: []\n');
    for (const name of ['web', 'batch', 'buyer', 'impostor'] as const) files.keep(name, files.svids[name]);
    return files;
  }

  /** @param trustConfig `identity` and `trust` of the configuration. */
  configure(trustConfig: string, upstreamUrl: string): void {
    this.replace('countersign.yaml', configText(trustConfig, upstreamUrl));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Written beside and renamed over, as operators should: nobody meets half a file. */
  replace(name: string, content: string): void {
    const temporary = this.path(`.${name}.new`);
    writeFileSync(temporary, content, { mode: 0o600 });
    renameSync(temporary, this.path(name));
  }

  /** A certificate and its key: of the sidecar, or of a caller, for curl. */
  keep(name: string, svid: Svid): void {
    this.replace(`${name}-key.pem`, svid.keyPem);
    this.replace(`${name}.pem`, svid.chainPem);
  }
}

/** An SVID for the proxy; `localhost` lets curl check its name as well. */
export const issueSidecar = (issuer: Authority): Promise<Svid> =>
  issuer.issue(demoIds.sidecar, { otherSans: ['DNS:localhost', 'IP:127.0.0.1'] });
