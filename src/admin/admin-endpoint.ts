import { adminPage } from './admin-page.js';
import { type Handler, HttpEndpoint, sendJson, sendText } from './http-endpoint.js';
import type { AdminView } from './ports.js';

const MAX_CONNECTIONS_SHOWN = 1000;

/** Everything an operator may see and do (PRODUCT §11). Loopback or a unix socket unless told otherwise. */
export function createAdminEndpoint(view: AdminView): HttpEndpoint {
  const routes = new Map<string, Handler>([
    ...commonRoutes(view),
    ['GET /snapshot', (_request, response) => sendJson(response, 200, view.snapshot())],
    [
      'GET /connections',
      (_request, response) => sendJson(response, 200, view.connections(MAX_CONNECTIONS_SHOWN)),
    ],
    ['POST /reload', async (_request, response) => sendJson(response, 200, await view.reload())],
    [
      'POST /drain',
      (_request, response) => {
        sendJson(response, 202, { draining: true });
        view.drain();
      },
    ],
    [
      'GET /',
      (_request, response) => {
        response.writeHead(200, {
          'content-type': 'text/html; charset=utf-8',
          'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
        });
        response.end(adminPage(view));
      },
    ],
  ]);
  return new HttpEndpoint('admin', routes);
}

/** What the admin and the health listener have in common. */
export function commonRoutes(view: AdminView): [string, Handler][] {
  return [
    ['GET /livez', (_request, response) => sendText(response, 200, 'ok\n')],
    [
      'GET /readyz',
      (_request, response) => {
        const { ready, why } = view.isReady();
        sendText(response, ready ? 200 : 503, ready ? 'ok\n' : `not ready: ${why}\n`);
      },
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
