import t from 'tap';
import { verifyToken } from '../../../src/identity/token.js';
import { type TokenProviderName, tokenProviders } from '../../../src/identity/token-providers.js';
import { keySetOfSigners, mintSigner, oidcIssuer, parsed, templateOf } from '../../support/tokens.js';

const NOW_MS = 1_700_000_000_000;
const NOW = NOW_MS / 1000;
const dates = { iat: NOW - 5, nbf: NOW - 5, exp: NOW + 300 };

interface Sample {
  readonly alg: string;
  /** Members of the header beside alg and kid. */
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>> & { readonly iss: string };
  readonly principal: string;
  /** Claims that are put in their place, and the reason for which the token is refused, or the principal that it names then. */
  readonly variants: readonly [name: string, claims: Readonly<Record<string, unknown>>, verdict: string][];
}

/** Tokens in the shape that each publisher describes; the names are those of the examples. */
const samples: Readonly<Record<TokenProviderName, Sample>> = {
  kubernetes: {
    alg: 'RS256',
    header: { typ: undefined },
    claims: {
      aud: ['api'],
      iss: 'https://kubernetes.default.svc.cluster.local',
      jti: 'ea28ed49-2e11-4280-9ec5-bc3d1d84661a',
      'kubernetes.io': {
        namespace: 'prod',
        node: { name: '127.0.0.1', uid: '58456cb0-dd00-45ed-b797-5578fdceaced' },
        pod: { name: 'web-69cbfb9798-jv9gn', uid: '778a530c-b3f4-47c0-9cd5-ab018fb64f33' },
        serviceaccount: { name: 'web.v1', uid: 'a087d5a0-e1dd-43ec-93ac-f13d89cd13af' },
        warnafter: NOW + 200,
      },
      sub: 'system:serviceaccount:prod:web.v1',
    },
    principal: 'k8s:prod/web.v1',
    variants: [
      ['a user', { sub: 'system:admin' }, 'token_claims'],
      ['a node', { sub: 'system:node:n1' }, 'token_claims'],
      ['no namespace', { 'kubernetes.io': { serviceaccount: { name: 'web' } } }, 'token_subject'],
      [
        'a slash in a name',
        { 'kubernetes.io': { namespace: 'prod', serviceaccount: { name: 'web/../admin' } } },
        'token_claims',
      ],
    ],
  },
  'github-actions': {
    alg: 'RS256',
    header: { x5t: 'example-thumbprint' },
    claims: {
      jti: 'example-id',
      sub: 'repo:octo-org/octo-repo:environment:prod',
      environment: 'prod',
      aud: 'api',
      ref: 'refs/heads/main',
      sha: 'example-sha',
      repository: 'octo-org/octo-repo',
      repository_owner: 'octo-org',
      actor_id: '12',
      repository_visibility: 'private',
      repository_id: '74',
      repository_owner_id: '65',
      run_id: 'example-run-id',
      run_number: '10',
      run_attempt: '2',
      runner_environment: 'github-hosted',
      actor: 'octocat',
      workflow: 'example-workflow',
      head_ref: '',
      base_ref: '',
      event_name: 'workflow_dispatch',
      ref_type: 'branch',
      job_workflow_ref: 'octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main',
      iss: 'https://token.actions.githubusercontent.com',
    },
    principal: 'github:octo-org/octo-repo/refs/heads/main',
    variants: [
      ['a tag', { ref: 'refs/tags/v1' }, 'github:octo-org/octo-repo/refs/tags/v1'],
      [
        'a branch with a slash and a sign',
        { ref: 'refs/heads/feat/a#1' },
        'github:octo-org/octo-repo/refs/heads/feat/a%231',
      ],
      [
        'a pull request is no branch',
        { ref: 'refs/pull/7/merge', event_name: 'pull_request' },
        'github:octo-org/octo-repo/refs/pull/7/merge',
      ],
      [
        'a pull request that shows the ref of the branch',
        { event_name: 'pull_request_target' },
        'token_claims',
      ],
      ['no event', { event_name: undefined }, 'token_claims'],
      ['a repository that is no pair', { repository: 'octo-org/octo-repo/refs' }, 'token_claims'],
      ['a repository that would shift the rest', { repository: 'octo-org' }, 'token_claims'],
      ['no ref', { ref: '' }, 'token_subject'],
      ['a ref out of its place', { ref: '../../other/refs/heads/main' }, 'token_subject'],
    ],
  },
  'gitlab-ci': {
    alg: 'RS256',
    header: {},
    claims: {
      namespace_id: '72',
      namespace_path: 'my-group',
      project_id: '20',
      project_path: 'my-group/sub/my-project',
      user_id: '1',
      user_login: 'sample-user',
      user_identities: [{ provider: 'github', extern_uid: '2435223452345' }],
      pipeline_id: '574',
      pipeline_source: 'push',
      job_id: '302',
      ref: 'feature-branch-1',
      ref_type: 'branch',
      ref_path: 'refs/heads/feature-branch-1',
      ref_protected: 'false',
      environment: 'test-environment2',
      runner_id: 1,
      runner_environment: 'self-hosted',
      jti: '235b3a54-b797-45c7-ae9a-f72d7bc6ef5b',
      iss: 'https://gitlab.com',
      sub: 'project_path:my-group/sub/my-project:ref_type:branch:ref:feature-branch-1',
      aud: 'api',
    },
    principal: 'gitlab:my-group/sub/my-project/refs/heads/feature-branch-1',
    variants: [
      [
        'a merge request is no branch',
        { ref_path: 'refs/merge-requests/1/head' },
        'gitlab:my-group/sub/my-project/refs/merge-requests/1/head',
      ],
      ['a project that is called as if a ref began', { project_path: 'g/p/refs/heads' }, 'token_claims'],
      ['a project without a group', { project_path: 'p' }, 'token_claims'],
      ['an older GitLab, without ref_path', { ref_path: undefined }, 'token_subject'],
    ],
  },
  gcp: {
    alg: 'RS256',
    header: {},
    claims: {
      iss: 'https://accounts.google.com',
      aud: 'api',
      azp: '104500000000000000001',
      sub: '104500000000000000001',
      email: 'web@p1.iam.gserviceaccount.com',
      email_verified: true,
      google: {
        compute_engine: {
          project_id: 'p1',
          project_number: 739419398126,
          zone: 'us-west1-a',
          instance_id: '152986662232938449',
        },
      },
      nbf: undefined,
    },
    principal: 'gcp:web@p1.iam.gserviceaccount.com/104500000000000000001',
    variants: [
      [
        'the default account of Compute Engine',
        { email: '739419398126-compute@developer.gserviceaccount.com' },
        'gcp:739419398126-compute@developer.gserviceaccount.com/104500000000000000001',
      ],
      ['a person', { email: 'alice@example.com' }, 'token_claims'],
      ['a person whose domain looks like it', { email: 'a@gserviceaccount.com.example.com' }, 'token_claims'],
      ['a domain that ends alike', { email: 'a@evilgserviceaccount.com' }, 'token_claims'],
      ['an email that nobody verified', { email_verified: false }, 'token_claims'],
      ['a token without the email', { email: undefined, email_verified: undefined }, 'token_subject'],
    ],
  },
  azure: {
    alg: 'RS256',
    header: { x5t: 'example-thumbprint' },
    claims: {
      aud: 'api',
      iss: 'https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/',
      aio: 'opaque',
      appid: '00001111-aaaa-2222-bbbb-3333cccc4444',
      appidacr: '2',
      idp: 'https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/',
      oid: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
      rh: 'opaque',
      sub: 'aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
      tid: 'aaaabbbb-0000-cccc-1111-dddd2222eeee',
      uti: 'example',
      ver: '1.0',
      xms_mirid:
        '/subscriptions/s/resourcegroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/web',
    },
    principal: 'azure:aaaabbbb-0000-cccc-1111-dddd2222eeee/aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb',
    variants: [
      ['no object', { oid: undefined }, 'token_subject'],
      ['an object that is no GUID', { oid: 'alice' }, 'token_claims'],
      ['a tenant by its domain', { tid: 'example.onmicrosoft.com' }, 'token_claims'],
    ],
  },
  aws: {
    alg: 'ES384',
    header: {},
    claims: {
      iss: 'https://abc123-def456-ghi789-jkl012.tokens.sts.global.api.aws',
      aud: 'api',
      sub: 'arn:aws:iam::123456789012:role/service/DataProcessingRole',
      jti: 'xyz123-def456-ghi789-jkl012',
      'https://sts.amazonaws.com/': {
        aws_account: '123456789012',
        source_region: 'us-east-1',
        org_id: 'o-abc1234567',
        principal_tags: { environment: 'production' },
        request_tags: { 'job-id': 'job-2024-001' },
      },
      nbf: undefined,
    },
    principal: 'aws:arn:aws:iam::123456789012:role/service/DataProcessingRole',
    variants: [
      ['a user', { sub: 'arn:aws:iam::123456789012:user/alice' }, 'aws:arn:aws:iam::123456789012:user/alice'],
      [
        'another partition',
        { sub: 'arn:aws-us-gov:iam::123456789012:role/a' },
        'aws:arn:aws-us-gov:iam::123456789012:role/a',
      ],
      ['the root of an account', { sub: 'arn:aws:iam::123456789012:root' }, 'token_claims'],
      ['a subject of Cognito', { sub: 'us-east-1:12345678-aaaa' }, 'token_claims'],
      ['no account', { 'https://sts.amazonaws.com/': {} }, 'token_claims'],
    ],
  },
};

for (const [name, { alg, header, claims, principal, variants }] of Object.entries(samples)) {
  const { issuer, ...provider } = tokenProviders[name as TokenProviderName];
  const signer = mintSigner(alg, 'k1');
  const entry = oidcIssuer({
    ...provider,
    issuer: issuer ?? claims.iss,
    actor: templateOf(`${provider.principal.namespace}{sub}`),
  });
  const verdict = async (more: object, head: object = {}): Promise<string> => {
    const text = signer.sign({ ...dates, ...claims, ...more }, { ...header, ...head });
    const trusted = { issuer: entry, keys: keySetOfSigners(signer), stale: undefined };
    const result = await verifyToken(parsed(text), trusted, new Map(), NOW_MS);
    return result.ok ? result.value.principal.uri : result.error.reason;
  };

  t.test(`${name}: a token in its shape names its principal`, async (t) => {
    t.equal(await verdict({}), principal);
    for (const [variant, more, expected] of variants) t.equal(await verdict(more), expected, variant);
    t.equal(await verdict({ iss: `${claims.iss}x` }), 'token_issuer_unknown');
    t.equal(await verdict({ aud: 'https://another.example' }), 'token_audience');
    t.equal(await verdict({}, { typ: 'at+jwt' }), 'token_type');
    t.equal(provider.principal.text.startsWith(provider.principal.namespace), true);
  });
}
