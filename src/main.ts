#!/usr/bin/env bun
// Runs the program and sets the exit code; the only file that knows `process`.

import { randomBytes } from 'node:crypto';
import { createAsk } from './cli/ask.ts';
import { runProgram } from './cli/program.ts';
import { createIdSource } from './lake/ids.ts';

const nowMs = (): number => Date.now();
const stop = new AbortController();
const abort = new AbortController();

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (!stop.signal.aborted) return stop.abort();
    abort.abort();
    process.exit(1);
  });
}

// Whoever reads our output may go before its end (`| head`): who writes hears of it, and what goes on and on ends.
process.stdout.on('error', () => stop.abort());
// A terminal that was closed says SIGHUP first, which is for reading feeds.json again; then it takes no more lines.
process.stderr.on('error', () => stop.abort());

const onHangup = (listener: () => void): Disposable => {
  process.on('SIGHUP', listener);
  return { [Symbol.dispose]: () => void process.off('SIGHUP', listener) };
};

/** Buffers that JavaScript no longer holds count little in the collector's eyes; null where the runtime offers no say in it. */
const bun = (globalThis as { Bun?: { gc(force: boolean): void } }).Bun;
const collectGarbage = bun ? (): void => bun.gc(true) : null;

process.exitCode = await runProgram({
  argv: process.argv,
  env: process.env,
  stdout: {
    write: (text) => void process.stdout.write(text),
    send: (bytes) =>
      new Promise((resolve, reject) => {
        process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
      }),
    isTerminal: process.stdout.isTTY === true,
    // 0 where the window's size is not known.
    rows: () => process.stdout.rows || 24,
  },
  stdin: async () => {
    const parts: Buffer[] = [];
    for await (const part of process.stdin) parts.push(Buffer.from(part));
    return Buffer.concat(parts).toString('utf8');
  },
  // Questions go beside the data, and only to someone who can answer them.
  ask:
    process.stdin.isTTY === true && process.stderr.isTTY === true
      ? createAsk(process.stdin, (text) => void process.stderr.write(text), stop.signal)
      : null,
  stderr: {
    write: (text) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
    columns: () => process.stderr.columns ?? 80,
  },
  nowMs,
  newId: createIdSource({ nowMs, randomBytes: (count) => randomBytes(count) }),
  stop: stop.signal,
  abort: abort.signal,
  onHangup,
  collectGarbage,
});
// Sockets of a broker that no longer answers would keep the process alive for their whole timeout.
process.exit();
