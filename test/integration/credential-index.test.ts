import t from 'tap';
import type { Connection } from '../../src/listener/connection.js';
import { CredentialIndex } from '../../src/listener/credential.js';

const presented = (i: number): { leaf: Buffer; intermediates: Buffer[] } => ({
  leaf: Buffer.from(`certificate ${i}`),
  intermediates: [],
});

t.test(
  'every live credential is found again, also beyond the capacity; only idle ones make room',
  async (t) => {
    const index = new CredentialIndex(2);
    for (let i = 0; i < 5; i++) index.find(presented(i)).connections.add({ id: `${i}` } as Connection);
    t.equal([...index.live()].length, 5);
    t.equal(index.size, 5);
    for (const credential of index.live()) credential.connections.clear();
    index.find(presented(9)).connections.add({ id: '9' } as Connection);
    t.equal([...index.live()].length, 1);
    t.equal(index.size, 5, 'one that was idle made room');
  },
);
