import { constants } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { loadOwnSvid } from '../../src/sources/own-svid.js';
import { readPeerChain } from '../../src/tls/peer-chain.js';
import { serverTlsOptions } from '../../src/tls/server-context.js';
import { must } from '../support/bench-rules.js';

/** A bare Node https server with Countersign's own TLS options, session tickets as it is told: `on` or `off`. */

const [port = '', certificate = '', key = '', tickets = ''] = process.argv.slice(2);
const { own } = must(loadOwnSvid(readFileSync(certificate), readFileSync(key)));
const options = serverTlsOptions(own, 10_000, ['http/1.1']);
const secureOptions = Number(options.secureOptions);

/** Says what this connection shows of its client. */
createServer(
  {
    ...options,
    minVersion: 'TLSv1.3',
    secureOptions: tickets === 'on' ? secureOptions & ~constants.SSL_OP_NO_TICKET : secureOptions,
    noDelay: true,
  },
  (request, response) => {
    const socket = request.socket as TLSSocket;
    const chain = readPeerChain(socket);
    const certificates = chain === undefined ? 0 : 1 + chain.intermediates.length;
    response.end(JSON.stringify({ isResumed: socket.isSessionReused(), certificates }));
  },
).listen(Number(port), '127.0.0.1', 1024);
