import type { AccessEdge } from './access-tally.js';
import type { LeastPrivilege } from './report-model.js';

/** A rule of the policy in hand, as far as the report asks it. */
export interface DeclaredRule {
  readonly id: string;
  readonly owner: string | undefined;
  readonly effect: 'allow' | 'deny';
  readonly destinations: readonly string[];
  readonly principals: readonly { readonly text: string; matches(identity: string): boolean }[];
}

export interface DeclaredPolicy {
  readonly revision: string;
  readonly rules: readonly DeclaredRule[];
}

/** What the policy grants and nobody used: rules that no record names, and of the others destinations and callers that none has. */
export function leastPrivilegeOf(
  policy: DeclaredPolicy | undefined,
  edges: readonly AccessEdge[],
): LeastPrivilege {
  if (policy === undefined) return { isKnown: false, policyRevision: undefined, neverUsed: [], tooWide: [] };
  const uses = usesOf(edges);
  const neverUsed = policy.rules.filter(({ id }) => !uses.has(id));
  const tooWide = policy.rules.flatMap((rule) => {
    const use = uses.get(rule.id);
    // A deny rule that is wide denies more: nothing to take away.
    if (use === undefined || rule.effect === 'deny') return [];
    const destinations = rule.destinations.filter((name) => !use.destinations.has(name));
    const identities = [...use.identities];
    const principals = rule.principals.filter((pattern) => !identities.some((id) => pattern.matches(id)));
    if (destinations.length === 0 && principals.length === 0) return [];
    const { id, owner } = rule;
    return [{ rule: id, owner, destinations, principals: principals.map(({ text }) => text) }];
  });
  return {
    isKnown: true,
    policyRevision: policy.revision,
    neverUsed: neverUsed.map(({ id, owner, effect }) => ({ rule: id, owner, effect })),
    tooWide,
  };
}

interface Use {
  readonly identities: Set<string>;
  /** Names of upstreams and of routes: a rule may say either. */
  readonly destinations: Set<string>;
}

function usesOf(edges: readonly AccessEdge[]): Map<string, Use> {
  const uses = new Map<string, Use>();
  for (const { identity, destination, cells } of edges)
    for (const { rule, exception, routes } of cells) {
      if (exception !== '') continue;
      const use = uses.get(rule) ?? { identities: new Set(), destinations: new Set() };
      uses.set(rule, use);
      use.identities.add(identity);
      use.destinations.add(destination);
      for (const route of routes) use.destinations.add(route);
    }
  return uses;
}
