import { err, ok, type Result } from '../reasons.js';

export type Environment = Readonly<Record<string, string | undefined>>;

const REFERENCE = /\$\{([^}]*)\}?/g;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Puts environment variables in for `${NAME}`. One that is not set is an error: nothing ever becomes an empty string. */
export function expandEnvironment(text: string, env: Environment): Result<string, string> {
  if (!text.includes('${')) return ok(text);
  let problem: string | undefined;
  const expanded = text.replace(REFERENCE, (reference: string, name: string) => {
    const value = Object.hasOwn(env, name) ? env[name] : undefined;
    if (!reference.endsWith('}') || !NAME.test(name)) problem ??= `"${reference}" is not \${NAME}`;
    else if (value === undefined) problem ??= `environment variable ${name} is not set`;
    else if (value === '') problem ??= `environment variable ${name} is empty`;
    return value ?? '';
  });
  return problem === undefined ? ok(expanded) : err(problem);
}
