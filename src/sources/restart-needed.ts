import type { Config } from '../config/config.js';

/** What a process opened at its start and cannot change while it runs, as far as `next` asks for other than `started`. */
export function restartNeededFor(started: Config, next: Config): string[] {
  const before = new Map(fixedPartsOf(started));
  const after = new Map(fixedPartsOf(next));
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys].filter((key) => before.get(key) !== after.get(key));
}

function fixedPartsOf(config: Config): [string, string | undefined][] {
  const { listeners, admin, health, limits, deadlines, workers } = config;
  const { recorded: _changesWithTheSnapshot, ...audit } = config.audit;
  const parts: [string, unknown][] = [
    ...listeners.map(({ name, address }): [string, unknown] => [`listeners.${name}.address`, address]),
    ...listeners.map(({ name, direction }): [string, unknown] => [`listeners.${name}.direction`, direction]),
    ...listeners.map(({ name, socketMode }): [string, unknown] => [
      `listeners.${name}.socketMode`,
      socketMode,
    ]),
    ['admin', admin],
    ['health', health],
    ['audit', { ...audit, signals: undefined }], // read anew with every reload
    ['workers', workers],
    ['limits.headerBytes', limits.headerBytes],
    ['deadlines.handshake', deadlines.handshakeMs],
    ['deadlines.head', deadlines.headMs],
  ];
  return parts.map(([key, value]) => [key, JSON.stringify(value)]);
}
