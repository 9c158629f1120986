import type { ChildProcess, Serializable } from 'node:child_process';

/** One order to a helper process, and its answer; rejects when the process is gone. */
export function askChild<T>(child: ChildProcess, order: Serializable): Promise<T> {
  return new Promise((resolve, reject) => {
    const onExit = (): void => reject(new Error('a helper process of the benchmark ended early'));
    child.once('exit', onExit);
    child.once('message', (answer) => {
      child.off('exit', onExit);
      resolve(answer as T);
    });
    child.send(order);
  });
}
