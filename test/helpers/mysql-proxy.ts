// A way to a MySQL that a test watches and breaks: at a chosen statement it acts before the server hears of it, or after the
// server has answered and before the client hears of that. Invariant: a client sends one statement at a time (ours does).

import { connect, createServer, type Socket } from 'node:net';
import { freePort } from '../../scripts/service/process.ts';

export type Strike = {
  /** A part of the statement's beginning. */
  readonly at: string;
  /** Counted from 1. */
  readonly n?: number;
  readonly when: 'before' | 'after';
  /** What happens there first. */
  readonly act?: () => void | Promise<void>;
  /** Whether the connection then goes on; by default it is cut. */
  readonly goesOn?: boolean;
};

export type MysqlProxy = {
  readonly port: number;
  /** The next strike; resolves when it has happened. */
  readonly strike: (strike: Strike) => Promise<void>;
  /** Cuts all connections; new ones are let in. */
  readonly cut: () => void;
  /** Cuts all connections and lets nobody in, until `open`. */
  readonly close: () => void;
  readonly open: () => void;
  /** Beginnings of the statements that came, of all connections. */
  readonly seen: readonly string[];
  readonly [Symbol.dispose]: () => void;
};

const HEAD_CHARS = 200;
const COM_QUERY = 3;

/** Packets are a length of three bytes, a number and the command; null: not the beginning of a statement. */
function statementHead(data: Buffer): string | null {
  return data.length > 5 && data[3] === 0 && data[4] === COM_QUERY ? data.toString('utf8', 5, 5 + HEAD_CHARS) : null;
}

export async function mysqlProxy(upstreamPort: number): Promise<MysqlProxy> {
  const sockets = new Set<Socket>();
  const seen: string[] = [];
  let isOpen = true;
  let waiting: (Strike & { left: number; done: () => void }) | null = null;
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
    }
    const end = (): void => {
      client.destroy();
      upstream.destroy();
    };
    if (!isOpen) return end();
    client.on('close', end);
    upstream.on('close', end);
    let answering: ((goOn: () => void) => Promise<void>) | null = null;
    client.on('data', (data: Buffer) => {
      const head = statementHead(data);
      if (head === null) return void upstream.write(data);
      seen.push(head);
      if (!waiting || !head.includes(waiting.at) || --waiting.left > 0) return void upstream.write(data);
      const strike = waiting;
      waiting = null;
      const act = async (goOn: () => void): Promise<void> => {
        await strike.act?.();
        if (strike.goesOn) goOn();
        else end();
        strike.done();
      };
      if (strike.when === 'before') return void act(() => upstream.write(data));
      answering = act;
      upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (!answering) return void client.write(data);
      const act = answering;
      answering = null;
      void act(() => client.write(data));
    });
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const cut = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port,
    seen,
    strike: (strike) =>
      new Promise((done) => {
        waiting = { ...strike, left: strike.n ?? 1, done };
      }),
    cut,
    close: () => {
      isOpen = false;
      cut();
    },
    open: () => {
      isOpen = true;
    },
    [Symbol.dispose]: () => {
      cut();
      server.close();
    },
  };
}
