import type { BundleOrigin, Config, IdentityConfig, TrustConfig, TrustFolderConfig } from './config.js';
import type { RawConfig } from './config-schema.js';
import type { Places } from './places.js';
import type { KeyPath } from './yaml-text.js';

export const toIdentity = (raw: RawConfig['identity'], places: Places): IdentityConfig => {
  const { files, workloadApi } = raw;
  if (files === undefined) {
    return {
      kind: 'workloadApi',
      ...(workloadApi?.id === undefined ? {} : { id: workloadApi.id }),
      ...(workloadApi?.hint === undefined ? {} : { hint: workloadApi.hint }),
    };
  }
  return {
    kind: 'files',
    certificateFile: places.file(['identity', 'files', 'certificate'], files.certificate),
    keyFile: places.file(['identity', 'files', 'key'], files.key),
  };
};

/** Where anything is to come from it, its place must be known. */
export function workloadApiOf(raw: RawConfig, places: Places): Pick<Config, 'workloadApi'> {
  const trusting = raw.trust.findIndex((entry) => entry.bundle?.workloadApi === true);
  const { workloadApi } = raw.identity;
  if (workloadApi === undefined && trusting === -1) return {};
  const path =
    workloadApi === undefined ? ['trust', trusting, 'bundle', 'workloadApi'] : ['identity', 'workloadApi'];
  const socket = places.endpointSocket(path, workloadApi?.socket);
  return socket === undefined ? {} : { workloadApi: { socket } };
}

/** Entries with `folder` apart from the others. */
export function trustOf(raw: RawConfig, places: Places): Pick<Config, 'trust' | 'trustFolders'> {
  const trust: TrustConfig[] = [];
  const trustFolders: TrustFolderConfig[] = [];
  for (const [entry, of] of raw.trust.entries()) {
    if (of.folder === undefined) trust.push(toTrust(of, entry, places));
    else trustFolders.push({ entry, folder: places.file(['trust', entry, 'folder'], of.folder) });
  }
  return { trust, trustFolders };
}

/** Of an entry without `folder`, which the schema lets through with its domain and bundle only. */
function toTrust(raw: RawConfig['trust'][number], i: number, places: Places): TrustConfig {
  const { crls = [], require = 'none', stale = 'deny', staleGrace = 0 } = raw.revocation ?? {};
  return {
    entry: i,
    trustDomain: raw.trustDomain!,
    bundle: toBundle(raw.bundle!, ['trust', i, 'bundle'], places),
    revocation: {
      crlFiles: crls.map((file, j) => places.file(['trust', i, 'revocation', 'crls', j], file)),
      require,
      stale,
      staleGraceMs: staleGrace,
    },
  };
}

function toBundle(
  raw: NonNullable<RawConfig['trust'][number]['bundle']>,
  path: KeyPath,
  places: Places,
): BundleOrigin {
  const { file, endpoint } = raw;
  if (file !== undefined) return { kind: 'file', file: places.file([...path, 'file'], file) };
  if (endpoint === undefined) return { kind: 'workloadApi' };
  const at = [...path, 'endpoint'];
  const { spiffeId, ca, bootstrap, store } = endpoint;
  return {
    kind: 'endpoint',
    url: places.endpointUrl([...at, 'url'], endpoint.url),
    profile:
      spiffeId !== undefined
        ? { kind: 'https_spiffe', endpointId: spiffeId }
        : {
            kind: 'https_web',
            ...(ca === undefined ? {} : { caFile: places.file([...at, 'ca'], ca) }),
          },
    ...(bootstrap === undefined ? {} : { bootstrapFile: places.file([...at, 'bootstrap'], bootstrap) }),
    ...(store === undefined ? {} : { storeFile: places.file([...at, 'store'], store) }),
  };
}
