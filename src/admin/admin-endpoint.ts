import { adminPage } from './admin-page.js';
import { exceptionRoutes } from './exception-routes.js';
import { type Handler, HttpEndpoint, sendJson, sendText } from './http-endpoint.js';
import type { AdminView } from './ports.js';
import { revocationRoutes } from './revocation-routes.js';

const MAX_CONNECTIONS_SHOWN = 1000;

/** Everything an operator may see and do (PRODUCT §11). Loopback or a unix socket unless told otherwise. */
export function createAdminEndpoint(view: AdminView): HttpEndpoint {
  const routes = new Map<string, Handler>([
    ...commonRoutes(view),
    ['GET /snapshot', async (_request, response) => sendJson(response, 200, await view.snapshot())],
    [
      'GET /connections',
      async (_request, response) => sendJson(response, 200, await view.connections(MAX_CONNECTIONS_SHOWN)),
    ],
    ['POST /reload', async (_request, response) => sendJson(response, 200, await view.reload())],
    [
      'POST /drain',
      (_request, response) => {
        sendJson(response, 202, { draining: true });
        view.drain();
      },
    ],
    ...revocationRoutes(view.revocations),
    ...exceptionRoutes(view.exceptions),
    [
      'GET /',
      async (_request, response) => {
        const page = await adminPage(view);
        response.writeHead(200, {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
        });
        response.end(page);
      },
    ],
  ]);
  return new HttpEndpoint('admin', routes, 'local');
}

/** What the admin and the health listener have in common. */
export function commonRoutes(view: AdminView): [string, Handler][] {
  return [
    ['GET /livez', (_request, response) => sendText(response, 200, 'ok\n')],
    [
      'GET /readyz',
      async (_request, response) => {
        const { ready, why } = await view.isReady();
        // Ready on the last good version is ready; that it is not the newest is for whoever reads the text.
        const text = ready ? 'ok' : 'not ready';
        sendText(response, ready ? 200 : 503, why === '' ? `${text}\n` : `${text}: ${why}\n`);
      },
    ],
    [
      'GET /.well-known/jwks.json',
      async (_request, response) => sendJson(response, 200, await view.keys(), 'application/jwk-set+json'),
    ],
    [
      'GET /metrics',
      async (_request, response) => {
        const { contentType, text } = await view.metrics();
        response.writeHead(200, { 'content-type': contentType }).end(text);
      },
    ],
  ];
}
