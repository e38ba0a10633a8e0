// A small HTTP server beside an ingest: whether the process lives, and whether its pipelines move their data (DESIGN §8).
// Invariant: nothing that a request asks for waits on Kafka, a database or the disk.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { LakeError } from '../errors.ts';
import type { Readiness } from '../ingest/readiness.ts';
import type { Log } from '../log.ts';
import type { Listen } from './listen.ts';

export type HttpServer = AsyncDisposable & { readonly port: number };

/** A client that sends its headers slower than this is no health check. */
const HEADERS_MS_MAX = 5_000;

/** Throws usage when the address cannot be listened on. */
export async function startHttp(options: {
  readonly listen: Listen;
  readonly readiness: Readiness;
  readonly log: Log;
}): Promise<HttpServer> {
  const { listen, readiness, log } = options;
  const server = createServer({ headersTimeout: HEADERS_MS_MAX }, (request, response) => answer(request, response, readiness));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(cannotListen(listen, cause)));
    server.listen(listen.port, listen.host, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : listen.port;
  log.info('http_listening', { host: listen.host, port });
  return {
    port,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer({ method, url }: IncomingMessage, response: ServerResponse, readiness: Readiness): void {
  const { status, json } = replyTo(method, url?.split('?')[0], readiness);
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(`${JSON.stringify(json)}\n`);
}

type Reply = { readonly status: number; readonly json: unknown };

function replyTo(method: string | undefined, path: string | undefined, readiness: Readiness): Reply {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, json: { error: 'GET or HEAD' } };
  if (path === '/healthz') return { status: 200, json: { ok: true } };
  if (path !== '/readyz') return { status: 404, json: { error: 'there are /healthz and /readyz' } };
  const view = readiness.view();
  return { status: view.ready ? 200 : 503, json: view };
}

function cannotListen({ host, port }: Listen, cause: Error): LakeError {
  const code = 'code' in cause ? cause.code : '';
  const what = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on: ${cause.message}`;
  const todo = 'name another with --http <host>:<port>, or end what listens there; port 0 takes any that is free';
  return new LakeError('usage', `port ${port} of ${host} ${what}`, { todo, cause });
}
