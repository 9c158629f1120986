import type { RequiredClaim, TokenAlgorithm } from './token-issuer.js';
import type { TemplatePart, TokenTemplate } from './token-template.js';

/** What the tokens of a well-known issuer look like, so that a configuration need name little more than its audience. */
export interface TokenProvider {
  /** `iss`; undefined where each installation has its own, which the configuration must name. */
  readonly issuer?: string;
  readonly algorithms: readonly TokenAlgorithm[];
  readonly types: readonly string[];
  readonly principal: TokenTemplate;
  readonly required: readonly RequiredClaim[];
}

export const TOKEN_PROVIDERS = ['kubernetes', 'github-actions', 'gitlab-ci', 'gcp', 'azure', 'aws'] as const;
export type TokenProviderName = (typeof TOKEN_PROVIDERS)[number];

const claim = (name: string): TemplatePart => ({ claim: name, keepsSlashes: false });
/** Its slashes part segments. Where more follows, `required` says how many there are: no value can shift what comes behind. */
const path = (name: string): TemplatePart => ({ claim: name, keepsSlashes: true });

function template(namespace: string, ...parts: readonly TemplatePart[]): TokenTemplate {
  const shown = parts.map((part) =>
    typeof part === 'string' ? part : `{${part.keepsSlashes ? '+' : ''}${part.claim}}`,
  );
  return { text: namespace + shown.join(''), namespace, parts };
}

const JWT: readonly string[] = ['JWT'];
const JWT_OR_NONE: readonly string[] = ['JWT', 'none'];
const GUID = '[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}';
const ACCOUNT = '/https:~1~1sts.amazonaws.com~1/aws_account';

/**
 * Each by what its publisher writes of it; the names of principals are ours.
 *
 * kubernetes: projected service account tokens. Header alg RS256 (or what the cluster was given) and kid, no typ. `iss` is the
 * cluster's own; sub `system:serviceaccount:NS:NAME`; `kubernetes.io`: { namespace, serviceaccount: { name, uid }, pod, node }.
 * Legacy tokens of Secrets have neither aud nor exp, and are refused for that.
 * https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ -> `k8s:prod/web`
 *
 * github-actions: header RS256, kid, typ JWT, x5t. repository `octo/app`, ref `refs/heads/main`, `refs/tags/v1`, or
 * `refs/pull/7/merge` for pull requests, so that none of those is taken for a branch; environment, event_name,
 * repository_owner_id, job_workflow_ref and more for `require` and policy. sub is not used: every repository may change its form,
 * and it leaves the ref out where there is an environment. Whoever opens a pull request also starts `pull_request_target`, whose
 * ref is that of the branch: it is refused. Any repository in the world gets tokens with any audience: name yours in policy.
 * https://docs.github.com/en/actions/reference/security/oidc -> `github:octo/app/refs/heads/main`
 *
 * gitlab-ci: ID tokens. RS256, kid, typ JWT. project_path `group/sub/project`, ref_path `refs/heads/main`, ref_protected and
 * environment for `require`. No project can be called `refs` (GitLab reserves it): where the path ends is always plain.
 * https://docs.gitlab.com/ci/secrets/id_token_authentication/ -> `gitlab:group/sub/project/refs/heads/main`
 *
 * gcp: ID tokens of service accounts, from the metadata server or generateIdToken with the email asked for. RS256, kid, typ JWT;
 * sub and azp the account's unique number, email its name, email_verified. The number is never used again, a name may be. People
 * have tokens of this issuer too: they are no service accounts, and refused.
 * https://cloud.google.com/compute/docs/instances/verifying-instance-identity -> `gcp:web@p1.iam.gserviceaccount.com/1045...`
 *
 * azure: access tokens of Microsoft Entra, of managed identities and others. RS256, kid, typ JWT, x5t in v1. `iss`
 * `https://sts.windows.net/TENANT/` (v1) or `https://login.microsoftonline.com/TENANT/v2.0`; tenants share their keys, so that
 * `iss` alone keeps them apart. tid the tenant, oid the immutable ID of the caller in it; appid (v1) or azp (v2). No jti.
 * https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference -> `azure:TENANT/OBJECT`
 *
 * aws: of sts:GetWebIdentityToken (IAM outbound identity federation). RS256 or ES384. `iss` is the account's own,
 * `https://UUID.tokens.sts.global.api.aws`; sub the ARN of the role or user, `https://sts.amazonaws.com/`: { aws_account, org_id,
 * principal_tags, ... }. https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html
 * -> `aws:arn:aws:iam::123456789012:role/web`
 */
export const tokenProviders: Readonly<Record<TokenProviderName, TokenProvider>> = {
  kubernetes: {
    algorithms: ['RS256', 'ES256', 'ES384'],
    types: JWT_OR_NONE,
    principal: template(
      'k8s:',
      claim('/kubernetes.io/namespace'),
      '/',
      claim('/kubernetes.io/serviceaccount/name'),
    ),
    required: [
      { claim: 'sub', pattern: 'system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+' },
      { claim: '/kubernetes.io/namespace', pattern: '[a-z0-9-]+' },
      { claim: '/kubernetes.io/serviceaccount/name', pattern: '[a-z0-9.-]+' },
    ],
  },
  'github-actions': {
    issuer: 'https://token.actions.githubusercontent.com',
    algorithms: ['RS256'],
    types: JWT,
    principal: template('github:', path('repository'), '/', path('ref')),
    required: [
      { claim: 'repository', pattern: '[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+' },
      { claim: 'ref', pattern: 'refs/(?:heads|tags|pull)/.+' },
      { claim: 'event_name', pattern: '(?!pull_request_target$).+' },
    ],
  },
  'gitlab-ci': {
    issuer: 'https://gitlab.com',
    algorithms: ['RS256'],
    types: JWT,
    principal: template('gitlab:', path('project_path'), '/', path('ref_path')),
    required: [
      { claim: 'project_path', pattern: '(?!.*/refs(?:/|$))[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)+' },
      { claim: 'ref_path', pattern: 'refs/[a-z-]+/.+' },
    ],
  },
  gcp: {
    issuer: 'https://accounts.google.com',
    algorithms: ['RS256'],
    types: JWT,
    principal: template('gcp:', claim('email'), '/', claim('sub')),
    required: [
      { claim: 'sub', pattern: '[0-9]{1,30}' },
      { claim: 'email', pattern: '[a-z0-9._-]+@[a-z0-9.-]+\\.gserviceaccount\\.com' },
      { claim: 'email_verified', values: ['true'] },
    ],
  },
  azure: {
    algorithms: ['RS256'],
    types: JWT,
    principal: template('azure:', claim('tid'), '/', claim('oid')),
    required: [
      { claim: 'tid', pattern: GUID },
      { claim: 'oid', pattern: GUID },
    ],
  },
  aws: {
    algorithms: ['RS256', 'ES384'],
    types: JWT_OR_NONE,
    principal: template('aws:', path('sub')),
    required: [
      { claim: 'sub', pattern: 'arn:aws[a-z-]*:iam::[0-9]{12}:(?:role|user)/.+' },
      { claim: ACCOUNT, pattern: '[0-9]{12}' },
    ],
  },
};
