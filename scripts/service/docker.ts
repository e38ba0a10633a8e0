// Docker, for the services of machines where its engine answers.

import { createHash } from 'node:crypto';
import { root } from '../common.ts';

/** A second checkout on the same machine has containers of its own. */
export function containerName(service: string): string {
  return `lake-${service}-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`;
}

export function docker(...args: string[]): { ok: boolean; output: string } {
  const done = Bun.spawnSync(['docker', ...args]);
  return { ok: done.exitCode === 0, output: `${done.stdout}${done.stderr}`.trim() };
}

/** A docker command without an engine behind it is common: only the engine counts. */
export function dockerAnswers(): boolean {
  return Bun.which('docker') !== null && docker('info', '--format', '{{.ServerVersion}}').ok;
}

export function containerRuns(name: string): boolean {
  return docker('inspect', '--format', '{{.State.Running}}', name).output === 'true';
}
