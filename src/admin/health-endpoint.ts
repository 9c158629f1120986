import type { ServerResponse } from 'node:http';
import { request as httpRequest } from 'node:http';
import { commonRoutes } from './admin-endpoint.js';
import { type Handler, HttpEndpoint, sendText } from './http-endpoint.js';
import type { AdminView, AppProbe } from './ports.js';

/** For kubelet and Prometheus: liveness, readiness, metrics and the configured probes of the app behind. Nothing else. */
export function createHealthEndpoint(view: AdminView, probes: readonly AppProbe[]): HttpEndpoint {
  const routes = new Map<string, Handler>(commonRoutes(view));
  for (const probe of probes) routes.set(`GET ${probe.path}`, (_request, response) => ask(probe, response));
  // Prometheus asks by DNS name, and there is nothing here that a page could do.
  return new HttpEndpoint('health', routes, 'any');
}

/** Asks the app and passes on its status alone: no body, no header of it reaches a caller without a certificate. */
function ask(probe: AppProbe, response: ServerResponse): void {
  const outgoing = httpRequest({
    ...(probe.address.kind === 'unix'
      ? { socketPath: probe.address.path }
      : { host: probe.address.host, port: probe.address.port }),
    path: probe.target,
    method: 'GET',
    headers: { host: probe.authority },
    agent: false,
    timeout: probe.timeoutMs,
    signal: AbortSignal.timeout(probe.timeoutMs),
  });
  outgoing.once('response', (answer) => {
    answer.resume();
    const status = answer.statusCode ?? 502;
    sendText(response, status >= 200 && status < 400 ? 200 : 503, `app answered ${status}\n`);
  });
  const unanswered = (): void => {
    if (!response.headersSent) sendText(response, 503, 'app does not answer\n');
  };
  outgoing.on('error', unanswered);
  outgoing.once('close', unanswered); // a 101 is neither a response nor an error
  outgoing.end();
}
