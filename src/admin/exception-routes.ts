import { parseGrantRequest, parseGrantWithdrawal } from '../config/grants.js';
import { type Handler, sendJson } from './http-endpoint.js';
import { takeOrder } from './order.js';
import type { ExceptionPort } from './ports.js';

/** Exceptions: list all, grant, withdraw (PRODUCT §6, §11). */
export function exceptionRoutes(port: ExceptionPort): [string, Handler][] {
  return [
    ['GET /exceptions', async (_request, response) => sendJson(response, 200, await port.list())],
    [
      'POST /exceptions',
      (request, response) => takeOrder(request, response, parseGrantRequest, (asked) => port.grant(asked)),
    ],
    [
      'DELETE /exceptions/*',
      (request, response, url) => {
        const id = url.pathname.slice('/exceptions/'.length);
        return takeOrder(request, response, parseGrantWithdrawal, (order) => port.withdraw(id, order));
      },
    ],
  ];
}
