import { parseRevocationRequest, parseWithdrawal } from '../config/revocations.js';
import { type Handler, sendJson } from './http-endpoint.js';
import { takeOrder } from './order.js';
import type { RevocationPort } from './ports.js';

/** Emergency revocations: list all, add, withdraw (PRODUCT §11). */
export function revocationRoutes(port: RevocationPort): [string, Handler][] {
  return [
    ['GET /revocations', async (_request, response) => sendJson(response, 200, await port.list())],
    [
      'POST /revocations',
      (request, response) =>
        takeOrder(request, response, parseRevocationRequest, (entries) => port.add(entries)),
    ],
    [
      'DELETE /revocations/*',
      (request, response, url) => {
        const key = url.pathname.slice('/revocations/'.length);
        return takeOrder(request, response, parseWithdrawal, (withdrawal) => port.withdraw(key, withdrawal));
      },
    ],
  ];
}
