import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AssertionKeySource } from '../../../src/sources/assertion-key-source.js';
import { newSealKey } from '../../support/seal-key.js';
import { waitFor } from '../../support/start-proxy.js';

/** A source over a file, with what it was noted for. */
class Place {
  readonly notes: string[] = [];
  readonly host = {
    nowMs: () => Date.now(),
    noted: (_: unknown, note: string) => void this.notes.push(note),
  };
  readonly keyFile: string;
  readonly jwksFile: string;

  constructor(readonly dir: string) {
    this.keyFile = join(dir, 'assert.jwk');
    this.jwksFile = join(dir, 'keys.json');
  }

  open(t: Test, overlapMs: number, from?: AssertionKeySource, keyFile = this.keyFile): AssertionKeySource {
    const settings = { keyFile, overlapMs, jwksFile: this.jwksFile };
    const source = new AssertionKeySource(settings, this.host, from);
    t.teardown(() => source.close());
    return source;
  }

  write(text: string, file = this.keyFile): void {
    writeFileSync(file, text, { mode: 0o600 });
  }

  get kidsInFile(): string[] {
    return (JSON.parse(readFileSync(this.jwksFile, 'utf8')) as { keys: { kid: string }[] }).keys.map(
      ({ kid }) => kid,
    );
  }
}

const kids = ({ published }: AssertionKeySource): string[] => published.map(({ kid }) => kid);

t.test(
  'a key that has left its file is published for the overlap, and then no more, there and in the file',
  async (t) => {
    const place = new Place(t.testdir());
    const [one, two] = [await newSealKey(), await newSealKey()];
    place.write(one.text);
    const source = place.open(t, 300);
    t.equal(await source.loadNow(), true);
    place.write(two.text);
    t.equal(await source.refresh(), true);
    t.same(kids(source), [two.kid, one.kid]);
    t.same(place.kidsInFile, [two.kid, one.kid]);
    await waitFor(() => place.kidsInFile.length === 1);
    t.same(place.kidsInFile, [two.kid]);
    t.same(kids(source), [two.kid]);
  },
);

t.test('a key that comes back is one of the file again', async (t) => {
  const place = new Place(t.testdir());
  const [one, two] = [await newSealKey(), await newSealKey()];
  place.write(one.text);
  const source = place.open(t, 60_000);
  await source.loadNow();
  for (const text of [two.text, `{"keys":[${two.text},${one.text}]}`]) {
    place.write(text);
    await source.refresh();
  }
  t.same(kids(source), [two.kid, one.kid]);
});

t.test('a new source for another file publishes on what the old one did', async (t) => {
  const place = new Place(t.testdir());
  const [one, two, three] = [await newSealKey(), await newSealKey(), await newSealKey()];
  place.write(one.text);
  const first = place.open(t, 60_000);
  await first.loadNow();
  place.write(two.text);
  await first.refresh();
  const other = join(place.dir, 'other.jwk');
  place.write(three.text, other);
  const second = place.open(t, 60_000, first, other);
  await second.loadNow();
  t.same(kids(second), [three.kid, two.kid, one.kid]);
  t.same(place.kidsInFile, [three.kid, two.kid, one.kid]);
});

t.test('a key is not adopted before its public half stands in the file', async (t) => {
  const place = new Place(t.testdir({ taken: {} }));
  const [one, two] = [await newSealKey(), await newSealKey()];
  place.write(one.text);
  const settings = { keyFile: place.keyFile, overlapMs: 60_000, jwksFile: join(place.dir, 'taken') };
  const source = new AssertionKeySource(settings, place.host);
  t.equal(await source.loadNow(), false);
  t.match(source.lastError, /taken: cannot be written \(/);
  t.equal(source.value, undefined);
  place.write(two.text);
  t.equal(await source.refresh(), false);
});

t.test('a private key that everybody may read is worth a word', async (t) => {
  const place = new Place(t.testdir());
  place.write((await newSealKey()).text);
  chmodSync(place.keyFile, 0o644);
  await place.open(t, 60_000).loadNow();
  t.match(place.notes, [/every user of this machine can read it/]);
});
