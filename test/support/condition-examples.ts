import { readFileSync } from 'node:fs';

/** The expressions of `docs/conditions.md`, in their order. */
export const conditionExamples = (): string[] =>
  [...readFileSync('docs/conditions.md', 'utf8').matchAll(/^```cel\n([\s\S]*?)```$/gm)].map((match) =>
    match[1]!.trim(),
  );

/** Its table of what is refused: expression, and what the message says. */
export const refusedExamples = (): (readonly [string, string])[] => {
  const section = readFileSync('docs/conditions.md', 'utf8').split('## What is refused on load')[1] ?? '';
  return [...section.matchAll(/^\| `(.*)` \| (.*) \|$/gm)].map((match) => [match[1]!, match[2]!] as const);
};

/** Its table of what can be read: name and type. */
export const readableNames = (): (readonly [string, string])[] => {
  const text = readFileSync('docs/conditions.md', 'utf8');
  const section = text.split('## What can be read')[1]?.split('## ')[0] ?? '';
  return [...section.matchAll(/^\| (`.*`) \| (\S+) \|/gm)].flatMap(([, names, type]) =>
    [...names!.matchAll(/`([^`]+)`/g)].map((name) => [name[1]!, type!] as const),
  );
};
