// Processes that outlive the script that started them. A pid alone proves nothing (it may be someone else's by now), so
// each is remembered with its start time; only the very process that was started is ever signalled.

import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';

export type ProcessRef = { readonly pid: number; readonly identity: string };

/** What stays the same while a process lives and differs for the next one with its pid; null when there is none. */
export function identityOf(pid: number): string | null {
  if (process.platform !== 'linux') {
    const ps = Bun.spawnSync(['ps', '-o', 'stat=,lstart=', '-p', String(pid)], { stderr: 'ignore' });
    const [state, ...started] = ps.stdout.toString().trim().split(/\s+/);
    return ps.exitCode !== 0 || state === undefined || state.startsWith('Z') ? null : started.join(' ');
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; after it come the state and, 19 fields on, the start in ticks since boot.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return null;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${fields[19]}`;
  } catch {
    return null;
  }
}

export function isAlive(ref: ProcessRef): boolean {
  return identityOf(ref.pid) === ref.identity;
}

export type SpawnOptions = { readonly command: readonly string[]; readonly folder: string; readonly logPath: string };

/** Starts a process in a session of its own, its output in a file. */
export function startDetached({ command, folder, logPath }: SpawnOptions): ProcessRef {
  const log = openSync(logPath, 'a');
  const [program = '', ...args] = command;
  const child = spawn(program, args, { cwd: folder, detached: true, stdio: ['ignore', log, log] });
  child.on('error', () => {});
  child.unref();
  closeSync(log);
  const identity = child.pid === undefined ? null : identityOf(child.pid);
  if (child.pid === undefined || identity === null) throw new Error(`${program} did not start, see ${logPath}`);
  return { pid: child.pid, identity };
}

/** Sends the signal and waits until the process is gone; after `graceMs` it is killed. False when it was gone already. */
export async function endProcess(ref: ProcessRef, signal: NodeJS.Signals = 'SIGTERM', graceMs = 20_000): Promise<boolean> {
  if (!isAlive(ref)) return false;
  process.kill(ref.pid, signal);
  const killAtMs = performance.now() + graceMs;
  while (isAlive(ref)) {
    if (performance.now() > killAtMs) process.kill(ref.pid, 'SIGKILL');
    await Bun.sleep(20);
  }
  return true;
}

/** Removes the folder, and kills the process that works in it, once this one is gone, however it went. */
export function endWithParent(ref: ProcessRef | null, folder: string): void {
  const watch = [
    'while kill -0 "$1" && kill -0 "$2"; do sleep 1; done 2>/dev/null',
    // The other one ended first: the folder may be needed to start it again.
    'kill -0 "$1" 2>/dev/null && exit',
    'kill -9 "$2" 2>/dev/null; rm -rf "$3"',
  ].join('\n');
  const args = ['-c', watch, 'watch', String(process.pid), String((ref ?? process).pid), folder];
  spawn('sh', args, { detached: true, stdio: 'ignore' }).unref();
}

/** The wanted port if nothing listens there, else any free one. */
export function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => (wanted === 0 ? reject(error) : resolve(freePort())));
    server.listen({ port: wanted, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
