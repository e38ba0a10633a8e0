// Flags that win over the file. Their values are text as typed; they go through the same checks as the file's own, and a problem
// with one names the flag. No ${…} is filled in here: the shell does that.
import { resolve } from 'node:path';
import type { JsonPath, Problem } from './issues.ts';

/** Where each flag lands in the file, in the words of the file. */
const PLACES = {
  bootstrapServers: ['kafka', 'bootstrap_servers'],
  groupId: ['kafka', 'group_id'],
  warehouseGroupId: ['kafka', 'warehouse_group_id'],
  sessionTimeoutSeconds: ['kafka', 'session_timeout_seconds'],
  lakePath: ['lake', 'path'],
  compression: ['lake', 'compression'],
  timezone: ['lake', 'timezone'],
  mysqlHost: ['warehouse', 'host'],
  mysqlPort: ['warehouse', 'port'],
  mysqlUser: ['warehouse', 'user'],
  mysqlPassword: ['warehouse', 'password'],
  mysqlDatabase: ['warehouse', 'database'],
  batchSize: ['batch', 'batch_size'],
  batchBytes: ['batch', 'batch_bytes'],
  batchTimeoutSeconds: ['batch', 'batch_timeout_seconds'],
} as const satisfies Record<string, JsonPath>;

type OverrideName = keyof typeof PLACES;
export type Overrides = { readonly [Name in OverrideName]?: string | undefined };

/** "mysqlPassword" → "--mysql-password". */
const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** Every flag there is, for the command line to declare: its option name and its place in the file. */
export const OVERRIDE_FLAGS: readonly { readonly flag: string; readonly name: string; readonly place: string }[] = Object.entries(
  PLACES,
).map(([name, [section, key]]) => ({ flag: flagOf(name), name, place: `${section}.${key}` }));

export type Overridden = {
  readonly value: unknown;
  /** Which flag set what is at this path, or null. */
  flagAt(path: JsonPath): string | null;
  readonly problems: readonly Problem[];
};

/** `value` is the file as read, not yet filled in; a section that is no object is left for the schema to refuse. */
export function applyOverrides(value: unknown, overrides: Overrides): Overridden {
  const flags = new Map<string, string>();
  const problems: Problem[] = [];
  let root = value;
  const given = new Map(Object.entries(overrides));
  for (const [name, [section, key]] of Object.entries(PLACES)) {
    const text = given.get(name);
    if (text === undefined) continue;
    const flag = flagOf(name);
    flags.set(`${section}.${key}`, flag);
    if (section === 'warehouse') {
      const engine = engineOf(root);
      if (engine === 'duckdb')
        problems.push({ path: [section, key], message: 'has no meaning: the warehouse of the file has engine "duckdb"' });
      if (engine === 'duckdb') continue;
      if (engine === null) root = set(root, ['warehouse', 'engine'], 'mysql');
    }
    // A path typed in a shell is meant from where the shell is, one in the file from where the file is.
    root = set(
      root,
      [section, key],
      key === 'path' && !/^[a-z][a-z0-9+.-]*:\/\//i.test(text) && text !== '' ? resolve(text) : text,
    );
  }
  return { value: root, problems, flagAt: (path) => flags.get(path.slice(0, 2).join('.')) ?? null };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === 'object' && !Array.isArray(value);

/** null: no warehouse is configured, so that a --mysql- flag asks for one. */
function engineOf(root: unknown): unknown {
  const warehouse = isObject(root) ? root['warehouse'] : undefined;
  return isObject(warehouse) ? warehouse['engine'] : null;
}

function set(root: unknown, [section, key]: readonly [string, string], value: string): unknown {
  if (!isObject(root)) return root;
  const part = root[section] ?? {};
  return isObject(part) ? { ...root, [section]: { ...part, [key]: value } } : root;
}
