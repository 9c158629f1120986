/** The configuration, or a file it names, is not good enough to start with. */
export class StartRefused extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'StartRefused';
  }
}
