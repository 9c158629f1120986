import { CONNECT } from '../message/connect-head.js';
import { FORWARDED_METHODS } from '../message/request-head.js';
import { lintPolicy } from '../policy/lint.js';
import type { LintFinding } from '../policy/lint-subject.js';
import type { Config } from './config.js';
import type { PolicyFile } from './policy-file.js';
import type { Problem } from './problem.js';
import { firstOf } from './registry-check.js';

/** What lint finds in a policy beside this configuration. For `check` alone: with ten thousand rules it takes a moment. */
export function lintWarnings(config: Config, file: PolicyFile): Problem[] {
  if (file.input === undefined) return [];
  const routes = config.listeners.flatMap((listener) => listener.routes);
  const hasTcp = config.listeners.some(({ protocol }) => protocol === 'tcp');
  const methods = hasTcp ? new Set([...FORWARDED_METHODS, CONNECT]) : FORWARDED_METHODS;
  const findings = lintPolicy(file.input, { routes, methods });
  return firstOf(placed(findings, file));
}

function* placed(findings: Iterable<LintFinding>, file: PolicyFile): Generator<Problem> {
  for (const { path, message } of findings) yield file.problemAt(path, message);
}
