import type { Config, InjectedCredential, ListenerConfig } from '../config/config.js';
import type { ServerCertificate, Snapshot } from '../snapshot.js';
import type { FileSource } from './file-source.js';
import { injectedCredentialSource } from './injected-credential-source.js';
import { type LoadedServerCertificate, serverCertificateSource } from './server-certificate-source.js';
import type { Source, SourceHost } from './source.js';

/** What listeners show and routes put in, each by itself. */
export interface ListenerSources {
  /** By listener. */
  readonly certificates: ReadonlyMap<string, Certificate>;
  /** By route. */
  readonly injected: ReadonlyMap<string, Injected>;
}

interface Certificate {
  readonly settings: NonNullable<ListenerConfig['serverCertificate']>;
  readonly source: FileSource<LoadedServerCertificate>;
}

interface Injected {
  readonly settings: InjectedCredential;
  readonly source: FileSource<string>;
}

/** The sources that the listeners of this configuration name; those of `known` with the same files keep their last good. */
export function connectListeners(
  { listeners }: Config,
  known: ListenerSources | undefined,
  host: SourceHost,
): ListenerSources {
  const certificates = new Map<string, Certificate>();
  const injected = new Map<string, Injected>();
  for (const { name, serverCertificate: settings, routes } of listeners) {
    if (settings !== undefined) {
      const before = known?.certificates.get(name);
      const isSame = JSON.stringify(before?.settings) === JSON.stringify(settings);
      const source = isSame ? before?.source : undefined;
      certificates.set(name, { settings, source: source ?? serverCertificateSource(name, settings, host) });
    }
    for (const route of routes) {
      if (route.injects !== undefined)
        injected.set(route.name, connectInjected(route.name, route.injects, known, host));
    }
  }
  return { certificates, injected };
}

function connectInjected(
  route: string,
  settings: InjectedCredential,
  known: ListenerSources | undefined,
  host: SourceHost,
): Injected {
  const before = known?.injected.get(route);
  if (before?.settings.file === settings.file) return { settings, source: before.source };
  const source = injectedCredentialSource(route, settings.file, (of, note) => host.noted(of, note));
  return { settings, source };
}

export const listenerSourcesOf = ({ certificates, injected }: ListenerSources): readonly Source[] =>
  [...certificates.values(), ...injected.values()].map(({ source }) => source);

/** What of a snapshot comes from them; what did not change keeps its object. */
export function joinListeners(
  { certificates, injected }: ListenerSources,
  before: Snapshot | undefined,
): Pick<Snapshot, 'serverCertificates' | 'injected'> {
  const shown = new Map<string, ServerCertificate>();
  for (const [listener, { source }] of certificates)
    if (source.value !== undefined) shown.set(listener, source.value);
  const values = new Map<string, string>();
  for (const [route, { settings, source }] of injected)
    if (source.value !== undefined) values.set(route, settings.prefix + source.value);
  return {
    serverCertificates: keep(shown, before?.serverCertificates),
    injected: keep(values, before?.injected),
  };
}

function keep<T>(
  next: ReadonlyMap<string, T>,
  before: ReadonlyMap<string, T> | undefined,
): ReadonlyMap<string, T> {
  const isSame = before?.size === next.size && [...next].every(([name, value]) => before.get(name) === value);
  return isSame ? before : next;
}
