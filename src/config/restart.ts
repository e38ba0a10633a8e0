// What of a changed feeds.json a running process cannot take up: all but its feeds. Pure.

import type { Config } from './config.ts';

const SECTIONS = ['kafka', 'lake', 'warehouse', 'batch'] as const;

/** The keys that differ, as the file names them (`kafka.bootstrap_servers`); never their values, which may be secrets. */
export function restartKeys(before: Config, after: Config): readonly string[] {
  return SECTIONS.flatMap((section) => {
    const [old, now] = [entriesOf(before[section]), entriesOf(after[section])];
    const keys = [...new Set([...old.keys(), ...now.keys()])];
    return keys.filter((key) => old.get(key) !== now.get(key)).map((key) => `${section}.${snakeCase(key)}`);
  });
}

const entriesOf = (section: object): ReadonlyMap<string, string> =>
  new Map(Object.entries(section).map(([key, value]) => [key, JSON.stringify(value)]));

const snakeCase = (key: string): string => key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
