#!/usr/bin/env bun
// Runs the program and sets the exit code; the only file that knows `process`.

import { randomBytes } from 'node:crypto';
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

/** Buffers that JavaScript no longer holds count little in the collector's eyes; null where the runtime offers no say in it. */
const bun = (globalThis as { Bun?: { gc(force: boolean): void } }).Bun;
const collectGarbage = bun ? (): void => bun.gc(true) : null;

process.exitCode = await runProgram({
  argv: process.argv,
  env: process.env,
  stdout: { write: (text) => void process.stdout.write(text), isTerminal: process.stdout.isTTY === true },
  stderr: {
    write: (text) => void process.stderr.write(text),
    isTerminal: process.stderr.isTTY === true,
    columns: () => process.stderr.columns ?? 80,
  },
  nowMs,
  newId: createIdSource({ nowMs, randomBytes: (count) => randomBytes(count) }),
  stop: stop.signal,
  abort: abort.signal,
  collectGarbage,
});
// Sockets of a broker that no longer answers would keep the process alive for their whole timeout.
process.exit();
