/** One thing wrong in one file; lines and columns count from 1, `path` is the key as a person would write it. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
}

/** `file:line:col path: message`, the form that editors and terminals turn into a link. */
export function formatProblem(problem: Problem): string {
  const where = `${problem.file}:${problem.line}:${problem.column}`;
  const text = problem.path === '' ? problem.message : `${problem.path}: ${problem.message}`;
  return printable(`${where} ${text}`);
}

const MAX_TOLD = 50;

/** For a log or a record, which must stay of a size: a line each of the first. `check` tells all. */
export function formatProblems(problems: readonly Problem[]): string {
  const lines = problems.slice(0, MAX_TOLD).map(formatProblem);
  if (problems.length > MAX_TOLD) lines.push(`and ${problems.length - MAX_TOLD} more`);
  return lines.join('\n');
}

/** Keys and values of the file stand in messages, and must not steer a terminal, nor make a line of their own. */
const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** File order, then line, then column: the order in which somebody mends them. */
export function compareProblems(a: Problem, b: Problem): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column;
}
