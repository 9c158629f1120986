import { readPemCertificates } from '../identity/pem.js';
import { err, ok } from '../reasons.js';
import { FileSource } from './file-source.js';

/** Authorities for https. Node takes the readable half of a broken PEM file without a word: it is read whole before it gets there. */
export const caSource = (file: string): FileSource<readonly string[]> =>
  new FileSource({
    name: 'ca',
    files: () => [file],
    parse: (contents) => {
      const bytes = contents.get(file) ?? Buffer.alloc(0);
      const certificates = readPemCertificates(bytes);
      if (!certificates.ok) return err(`${file}: ${certificates.error}`);
      return certificates.value.length === 0
        ? err(`${file}: holds no certificate`)
        : ok([bytes.toString('latin1')]);
    },
  });
