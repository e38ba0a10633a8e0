// Runs one contender as a fresh process and measures it from outside: wall time, CPU, memory. Memory is sampled from /proc
// every 50 ms, and so is the kernel's own peak: the one that wait4 tells may be this process's, from before the exec.

import { readFileSync } from 'node:fs';
import { ScriptError } from '../common.ts';

const SAMPLE_MS = 50;
const MIB = 1024 * 1024;

export type MemorySample = {
  readonly atMs: number;
  readonly anonymousMb: number;
  readonly fileMb: number;
  /** The most there was at any moment so far. */
  readonly peakMb: number;
};

export type Measured = {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly rssMbMax: number;
  readonly stdout: string;
  readonly stderr: string;
  /** When the process was started, as the clock says: to compare with the times of its log lines. */
  readonly startedAtMs: number;
  readonly samples: readonly MemorySample[];
};

export type MeasureOptions = { readonly command: readonly string[]; readonly folder: string };

/** Runs the command to its end; a failing one is an error with its last words. */
export async function measure({ command, folder }: MeasureOptions): Promise<Measured> {
  const startedAtMs = Date.now();
  const startedMs = performance.now();
  const child = Bun.spawn([...command], { cwd: folder, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const samples: MemorySample[] = [];
  const sampler = setInterval(() => {
    const sample = sampleOf(child.pid, performance.now() - startedMs);
    if (sample && sample.peakMb > 0) samples.push(sample);
  }, SAMPLE_MS);
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]).finally(() => clearInterval(sampler));
  const wallMs = performance.now() - startedMs;
  if (exitCode !== 0) throw new ScriptError(`${command.slice(0, 3).join(' ')} ended with ${exitCode}:\n${stderr.slice(-2000)}`);
  const usage = child.resourceUsage();
  if (!usage) throw new ScriptError('this system does not tell what a process used');
  const cpuMs = Number(usage.cpuTime.total) / 1000;
  const rssMbMax = samples.at(-1)?.peakMb ?? usage.maxRSS / MIB;
  return { wallMs, cpuMs, rssMbMax, stdout, stderr, startedAtMs, samples };
}

function sampleOf(pid: number, atMs: number): MemorySample | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const mb = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
    return { atMs: Math.round(atMs), anonymousMb: mb('RssAnon'), fileMb: mb('RssFile'), peakMb: mb('VmHWM') };
  } catch {
    return null;
  }
}
