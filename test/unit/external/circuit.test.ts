import t from 'tap';
import { Circuit, type Ticket } from '../../../src/external/circuit.js';

const entered = (circuit: Circuit, tickMs: number): Ticket => {
  const ticket = circuit.enter(tickMs);
  if (ticket === undefined) throw new Error(`nothing may be asked at ${tickMs}`);
  return ticket;
};

function opened(): Circuit {
  const circuit = new Circuit(3, 1000);
  for (let i = 0; i < 3; i++) circuit.failed(entered(circuit, 0), 0);
  return circuit;
}

t.test(
  'it opens after so many failures in a row, and a success between them begins the count anew',
  async (t) => {
    const circuit = new Circuit(3, 1000);
    circuit.failed(entered(circuit, 0), 0);
    circuit.failed(entered(circuit, 0), 0);
    circuit.succeeded(entered(circuit, 0));
    circuit.failed(entered(circuit, 0), 0);
    circuit.failed(entered(circuit, 0), 0);
    t.equal(circuit.state(0), 'closed');
    circuit.failed(entered(circuit, 0), 0);
    t.equal(circuit.state(0), 'open');
    t.equal(circuit.enter(999), undefined);
  },
);

t.test('when its time is over one question alone finds out', async (t) => {
  const circuit = opened();
  t.equal(circuit.state(1000), 'half_open');
  const probe = entered(circuit, 1000);
  t.equal(circuit.enter(1000), undefined, 'a second one waits for the first');
  circuit.failed(probe, 1100);
  t.equal(circuit.state(1100), 'open');
  t.equal(circuit.enter(2099), undefined);
  circuit.succeeded(entered(circuit, 2100));
  t.equal(circuit.state(2100), 'closed');
  t.ok(circuit.enter(2100));
});

t.test('a question whose asker has gone frees its place, and says nothing', async (t) => {
  const circuit = opened();
  circuit.givenUp(entered(circuit, 1000));
  t.equal(circuit.state(1000), 'half_open');
  t.ok(circuit.enter(1000));
});

t.test('what was asked before a change neither opens nor closes it', async (t) => {
  const circuit = new Circuit(1, 1000);
  const [slow, late, last] = [entered(circuit, 0), entered(circuit, 0), entered(circuit, 0)];
  circuit.failed(slow, 0);
  circuit.succeeded(late);
  t.equal(circuit.state(0), 'open');
  const probe = entered(circuit, 1000);
  circuit.givenUp(last);
  t.equal(circuit.enter(1000), undefined, 'the probe is still under way');
  circuit.succeeded(probe);
  t.equal(circuit.state(1000), 'closed');
});
