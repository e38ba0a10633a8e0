// What a backing service is to scripts/services, and the file that remembers what was started. Invariant: only a
// service recorded here, and still the very same process or container, is ever stopped.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { root, ScriptError } from '../common.ts';

export const servicesFolder = join(root, '.services');
const statePath = join(servicesFolder, 'state.json');

const recordSchema = v.variant('kind', [
  v.object({ kind: v.literal('process'), address: v.string(), pid: v.number(), identity: v.string(), log: v.string() }),
  v.object({ kind: v.literal('docker'), address: v.string(), container: v.string() }),
]);
const stateSchema = v.record(v.string(), recordSchema);

/** Where a service is and how it was started; kept after a stop so that it comes back at the same address. */
type OwnRecord = v.InferOutput<typeof recordSchema>;
export type ServiceRecord = OwnRecord | { readonly kind: 'external'; readonly address: string };

export type Service = {
  readonly name: string;
  /** The variables through which lake finds the service. */
  readonly environment: (record: ServiceRecord) => Record<string, string>;
  /** The one that someone else runs and the environment names. */
  readonly external: (known: ServiceRecord | undefined) => ServiceRecord | null;
  /** Makes it run, or leaves it running; the same call twice changes nothing. */
  readonly start: (known: ServiceRecord | undefined) => Promise<ServiceRecord>;
  readonly isRunning: (record: ServiceRecord) => Promise<boolean>;
  /** Whether there was something of ours to stop. */
  readonly stop: (record: ServiceRecord) => Promise<boolean>;
};

export function readState(): Record<string, OwnRecord> {
  if (!existsSync(statePath)) return {};
  const parsed = v.safeParse(stateSchema, JSON.parse(readFileSync(statePath, 'utf8')));
  if (!parsed.success)
    throw new ScriptError(`${statePath} is not what this version writes: stop the services by hand and remove it`);
  return parsed.output;
}

/** An external service is not remembered: it would take the place of ours, which may still run. */
export function remember(name: string, record: ServiceRecord): void {
  if (record.kind === 'external') return;
  mkdirSync(servicesFolder, { recursive: true });
  writeFileSync(`${statePath}.partial`, `${JSON.stringify({ ...readState(), [name]: record }, null, 2)}\n`);
  renameSync(`${statePath}.partial`, statePath);
}
