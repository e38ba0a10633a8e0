// A small HTTP server beside an ingest: whether the process lives, whether its pipelines move their data, and what it has done (DESIGN §8).
// Invariant: nothing that a request asks for waits on Kafka, a database or the disk.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { LakeError } from '../errors.ts';
import type { Readiness } from '../ingest/readiness.ts';
import type { Log } from '../log.ts';
import type { Listen } from './listen.ts';
import type { Metrics } from './metrics.ts';

export type HttpServer = AsyncDisposable & { readonly port: number };

/** A client that sends its headers slower than this is no health check. */
const HEADERS_MS_MAX = 5_000;

/** Throws usage when the address cannot be listened on. */
export async function startHttp(options: {
  readonly listen: Listen;
  readonly readiness: Readiness;
  readonly metrics: Metrics;
  readonly log: Log;
}): Promise<HttpServer> {
  const { listen, log } = options;
  const server = createServer({ headersTimeout: HEADERS_MS_MAX }, (request, response) => answer(request, response, options));
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

type Sources = { readonly readiness: Readiness; readonly metrics: Metrics };

function answer({ method, url }: IncomingMessage, response: ServerResponse, sources: Sources): void {
  const { status, type = 'application/json', body } = replyTo(method, url?.split('?')[0], sources);
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
  response.end(typeof body === 'string' ? body : `${JSON.stringify(body)}\n`);
}

/** `body`: a text as it is, else what becomes JSON. */
type Reply = { readonly status: number; readonly type?: string; readonly body: unknown };

const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';

function replyTo(method: string | undefined, path: string | undefined, { readiness, metrics }: Sources): Reply {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: { error: 'GET or HEAD' } };
  if (path === '/healthz') return { status: 200, body: { ok: true } };
  const view = readiness.view();
  if (path === '/metrics') return { status: 200, type: PROMETHEUS, body: metrics.text(view) };
  if (path !== '/readyz') return { status: 404, body: { error: 'there are /healthz, /readyz and /metrics' } };
  return { status: view.ready ? 200 : 503, body: view };
}

function cannotListen({ host, port }: Listen, cause: Error): LakeError {
  const code = 'code' in cause ? cause.code : '';
  const what = code === 'EADDRINUSE' ? 'is in use' : `cannot be listened on: ${cause.message}`;
  const todo = 'name another with --http <host>:<port>, or end what listens there; port 0 takes any that is free';
  return new LakeError('usage', `port ${port} of ${host} ${what}`, { todo, cause });
}
