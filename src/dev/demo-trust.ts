import { type DemoFiles, demoIds } from './demo-files.js';
import type { Authority, Svid } from './pki.js';
import { svidMessage, svidResponse } from './workload-api-messages.js';
import { WorkloadApiServer } from './workload-api-server.js';

/** How the demo's sidecar gets its SVID and its bundles, and how the demo changes them. */
export interface DemoTrust {
  /** `identity` and `trust` of the configuration. */
  readonly config: string;
  /** For people: where they come from. */
  readonly described: string;
  /** As records name what brought the bundle of example.org, and what brought the own SVID. */
  readonly sources: { readonly bundle: string; readonly identity: string };
  /** All authorities of example.org from now on. */
  setBundle(authorities: readonly Authority[]): void;
  setSidecar(svid: Svid): void;
  close(): void;
}

const bundlePem = (authorities: readonly Authority[]): string =>
  authorities.map(({ certPem }) => certPem).join('');

export class FileTrust implements DemoTrust {
  readonly config = `identity:
  files: { certificate: sidecar.pem, key: sidecar-key.pem }
trust:
  - trustDomain: example.org
    bundle: { file: bundle.pem }
  - trustDomain: partner.example
    bundle: { file: partner-bundle.pem }`;
  readonly described = 'sidecar.pem, bundle.pem, partner-bundle.pem';
  readonly sources = { bundle: 'bundle:example.org', identity: 'identity' };

  constructor(readonly files: DemoFiles) {
    files.replace('partner-bundle.pem', files.partner.certPem);
    this.setBundle([files.root]);
    this.setSidecar(files.svids.sidecar);
  }

  setBundle(authorities: readonly Authority[]): void {
    this.files.replace('bundle.pem', bundlePem(authorities));
  }

  setSidecar(svid: Svid): void {
    this.files.keep('sidecar', svid);
  }

  close(): void {
    // files outlive the demo: its last words name commands that read them
  }
}

/** A Workload API server of the demo's own. Each change is a message that holds the whole state, as SPIRE sends them. */
export class AgentTrust implements DemoTrust {
  readonly config: string;
  readonly described: string;
  readonly sources = { bundle: 'workload-api', identity: 'workload-api' };
  #authorities: readonly Authority[];
  #sidecar: Svid;

  private constructor(
    readonly files: DemoFiles,
    readonly server: WorkloadApiServer,
    uri: string,
  ) {
    this.config = `identity:
  workloadApi: { socket: ${JSON.stringify(uri)} }
trust:
  - { trustDomain: example.org, bundle: { workloadApi: true } }
  - { trustDomain: partner.example, bundle: { workloadApi: true } }`;
    this.described = `a Workload API server at ${uri}`;
    this.#authorities = [files.root];
    this.#sidecar = files.svids.sidecar;
    this.#offer();
  }

  /** @param uri of the Unix socket at `path`, as the configuration names it. */
  static async open(files: DemoFiles, uri: string, path: string): Promise<AgentTrust> {
    return new AgentTrust(files, await WorkloadApiServer.listen(`unix:${path}`), uri);
  }

  setBundle(authorities: readonly Authority[]): void {
    this.#authorities = authorities;
    this.#offer();
  }

  setSidecar(svid: Svid): void {
    this.#sidecar = svid;
    this.#offer();
  }

  close(): void {
    this.server.close();
  }

  #offer(): void {
    const [first] = this.#authorities;
    if (first === undefined) throw new Error(`the bundle of ${demoIds.sidecar} holds nobody`);
    const bundle = Buffer.concat(this.#authorities.map(({ certDer }) => certDer));
    const federatedBundles = { 'spiffe://partner.example': this.files.partner.certDer };
    this.files.replace('bundle.pem', bundlePem(this.#authorities)); // for curl: no word of it in the configuration
    this.server.offer(
      'FetchX509SVID',
      svidResponse([svidMessage(this.#sidecar, first, { bundle })], { federatedBundles }),
    );
  }
}
