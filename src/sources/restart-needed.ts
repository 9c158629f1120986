import type { Config, ListenerConfig } from '../config/config.js';

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
    ...listeners.flatMap(fixedPartsOfListener),
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

/** Its socket is open, and what is spoken on it was settled then; its routes change with the snapshot. */
function fixedPartsOfListener({ name, ...listener }: ListenerConfig): [string, unknown][] {
  const { address, socketMode, protocol, direction, http2, proxyProtocol, startTls } = listener;
  const parts = { address, socketMode, protocol, direction, http2, proxyProtocol, startTls };
  return Object.entries(parts).map(([key, value]) => [`listeners.${name}.${key}`, value]);
}
