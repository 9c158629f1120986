/**
 * What we use of the SPIFFE Workload API (workload.proto, service SpiffeWorkloadAPI, no package) as data: the compiler copies
 * no .proto files, and both ends of the wire (the client, the development server) must read the same one.
 */

export interface X509SvidMessage {
  readonly spiffeId: string;
  /** Concatenated DER, leaf first. */
  readonly x509Svid: Buffer;
  /** PKCS#8 DER. */
  readonly x509SvidKey: Buffer;
  /** Concatenated DER: the authorities of the SVID's own trust domain. */
  readonly bundle: Buffer;
  readonly hint: string;
}

/** By the SPIFFE ID of the trust domain. */
export type BundleMessages = Readonly<Record<string, Buffer>>;

export interface X509SvidResponse {
  readonly svids: readonly X509SvidMessage[];
  /** DER, one list each. */
  readonly crl: readonly Buffer[];
  readonly federatedBundles: BundleMessages;
}

export interface X509BundlesResponse {
  readonly crl: readonly Buffer[];
  readonly bundles: BundleMessages;
}

/** Each value is a JWK set. */
export interface JwtBundlesResponse {
  readonly bundles: BundleMessages;
}

export interface ValidateJwtSvidRequest {
  readonly audience: string;
  readonly svid: string;
}

/** The claims, which it holds as well, are not read: the token itself has them. */
export interface ValidateJwtSvidResponse {
  readonly spiffeId: string;
}

const text = { type: 'string' } as const;
const bytes = { type: 'bytes' } as const;
const bundleMap = { keyType: 'string', type: 'bytes' } as const;

const stream = (requestType: string, responseType: string) => ({
  requestType,
  responseType,
  responseStream: true,
  comment: '',
});

/** In the JSON form of protobuf.js. */
export const workloadDescriptor = {
  nested: {
    X509SVIDRequest: { fields: {} },
    X509SVIDResponse: {
      fields: {
        svids: { rule: 'repeated', type: 'X509SVID', id: 1 },
        crl: { rule: 'repeated', ...bytes, id: 2 },
        federatedBundles: { ...bundleMap, id: 3 },
      },
    },
    X509SVID: {
      fields: {
        spiffeId: { ...text, id: 1 },
        x509Svid: { ...bytes, id: 2 },
        x509SvidKey: { ...bytes, id: 3 },
        bundle: { ...bytes, id: 4 },
        hint: { ...text, id: 5 },
      },
    },
    X509BundlesRequest: { fields: {} },
    X509BundlesResponse: {
      fields: { crl: { rule: 'repeated', ...bytes, id: 1 }, bundles: { ...bundleMap, id: 2 } },
    },
    JWTBundlesRequest: { fields: {} },
    JWTBundlesResponse: { fields: { bundles: { ...bundleMap, id: 1 } } },
    ValidateJWTSVIDRequest: { fields: { audience: { ...text, id: 1 }, svid: { ...text, id: 2 } } },
    ValidateJWTSVIDResponse: { fields: { spiffeId: { ...text, id: 1 } } },
    SpiffeWorkloadAPI: {
      methods: {
        FetchX509SVID: stream('X509SVIDRequest', 'X509SVIDResponse'),
        FetchX509Bundles: stream('X509BundlesRequest', 'X509BundlesResponse'),
        FetchJWTBundles: stream('JWTBundlesRequest', 'JWTBundlesResponse'),
        ValidateJWTSVID: {
          requestType: 'ValidateJWTSVIDRequest',
          responseType: 'ValidateJWTSVIDResponse',
          comment: '',
        },
      },
    },
  },
};

export const WORKLOAD_SERVICE = 'SpiffeWorkloadAPI';
export type WorkloadMethod = 'FetchX509SVID' | 'FetchX509Bundles' | 'FetchJWTBundles';
export const VALIDATE_METHOD = 'ValidateJWTSVID';

/** How codecs are made of the descriptor: what is not on the wire reads as its default, so that it counts as missing. */
export const workloadCodecOptions = { defaults: true, arrays: true, objects: true } as const;

/** Every call must carry it, exactly so (SPIFFE Workload Endpoint 3). */
export const SECURITY_HEADER = { name: 'workload.spiffe.io', value: 'true' } as const;
