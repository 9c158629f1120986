import t from 'tap';
import { Balancer } from '../../../src/upstream/balancer.js';

class Place {
  open = 0;
  out = false;

  constructor(readonly name: string) {}

  isOut(): boolean {
    return this.out;
  }
}

const places = (): [Place, Place, Place] => [new Place('a'), new Place('b'), new Place('c')];
const turns = (balancer: Balancer<Place>, count: number): string =>
  Array.from({ length: count }, () => balancer.choose()?.name ?? '-').join('');

t.test('round robin gives each its turn, whatever is open there', async (t) => {
  const all = places();
  all[1].open = 50;
  t.equal(turns(new Balancer(all, 'round_robin'), 7), 'abcabca');
});

t.test('what is out loses its turn to the next', async (t) => {
  const all = places();
  all[1].out = true;
  t.equal(turns(new Balancer(all, 'round_robin'), 6), 'acacac');
});

t.test('where all are out, all take turns', async (t) => {
  const all = places();
  for (const one of all) one.out = true;
  t.equal(turns(new Balancer(all, 'round_robin'), 4), 'abca');
});

t.test('least requests goes where fewest are open; turns break ties', async (t) => {
  const all = places();
  const balancer = new Balancer(all, 'least_requests');
  t.equal(turns(balancer, 4), 'abca');
  all[0].open = 3;
  all[1].open = 2;
  all[2].open = 2;
  t.equal(turns(balancer, 4), 'bcbc');
  all[1].out = true;
  all[2].open = 4;
  t.equal(turns(balancer, 2), 'aa');
});

t.test('what failed already is not chosen again, out or not; where that is all, nothing is', async (t) => {
  const all = places();
  const [a, b, c] = all;
  const balancer = new Balancer(all, 'round_robin');
  b.out = true;
  t.equal(balancer.choose([a])?.name, 'c');
  t.equal(balancer.choose([a, c])?.name, 'b', 'out is better than known to have failed');
  t.equal(balancer.choose([a, b, c]), undefined);
  t.equal(new Balancer([a], 'round_robin').choose([a]), undefined);
  t.equal(new Balancer<Place>([], 'round_robin').choose(), undefined);
});
