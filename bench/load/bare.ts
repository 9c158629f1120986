import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

/** A bare Node https server that asks for a client certificate and answers itself: what Node alone costs. */

const [port = '', ca = '', certificate = '', key = ''] = process.argv.slice(2);
const small = Buffer.from('{"invoice":7,"state":"paid"}\n');
const bulk = Buffer.alloc(1024 * 1024, 'x');

createServer(
  {
    ca: readFileSync(ca),
    cert: readFileSync(certificate),
    key: readFileSync(key),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
    noDelay: true,
  },
  (request, response) => {
    request.resume();
    const body = request.url?.startsWith('/bulk') ? bulk : small;
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length }).end(body);
  },
).listen(Number(port), '127.0.0.1', 1024);
