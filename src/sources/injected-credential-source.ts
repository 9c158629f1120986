import { stat } from 'node:fs/promises';
import { warnOfSecretMode } from '../config/token-files-check.js';
import { parseInjectedSecret } from '../message/injected-secret.js';
import { err } from '../reasons.js';
import { FileSource } from './file-source.js';

/** The secret that one route puts in. What goes wrong with it is told without a character of it. */
export function injectedCredentialSource(
  route: string,
  file: string,
  noted: (source: FileSource<string>, note: string) => void,
): FileSource<string> {
  const source: FileSource<string> = new FileSource<string>({
    name: `injected-credential:${route}`,
    files: () => [file],
    parse: async (contents) => {
      const secret = parseInjectedSecret(contents.get(file) ?? Buffer.alloc(0));
      if (!secret.ok) return err(`${file}: ${secret.error}`);
      const mode = await stat(file).then(
        (found) => found.mode,
        () => 0,
      );
      const warning = warnOfSecretMode(file, mode);
      if (warning !== undefined) noted(source, warning);
      return secret;
    },
  });
  return source;
}
