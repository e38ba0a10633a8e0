// feeds.json that changes between being read and being watched: no change is lost.

import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findConfigIssues, loadConfig } from '../../src/config/load.ts';
import { watchConfig } from '../../src/ingest/config-watch.ts';
import { createLog } from '../../src/log.ts';
import { tempDir } from '../helpers/services.ts';
import { until } from '../helpers/until.ts';

const textOf = (...feeds: string[]): string =>
  JSON.stringify({
    kafka: { bootstrap_servers: ['localhost:9092'], group_id: 'g' },
    feeds: feeds.map((name) => ({ feed_name: name, topic: name, feed_type: 'stream' })),
  });

const scene = async (begin: (path: string) => void) => {
  const folder = await tempDir();
  const path = join(folder.path, 'feeds.json');
  writeFileSync(path, textOf('a'));
  const config = loadConfig({ path, env: {} });
  begin(path);
  const taken: string[][] = [];
  const refused: string[] = [];
  const watch = await watchConfig({
    config,
    load: () => findConfigIssues({ path, env: {} }),
    take: ({ feeds }) => taken.push(feeds.map(({ name }) => name)),
    readiness: { configTaken: () => undefined, configRefused: (reason) => refused.push(reason) },
    log: createLog({ level: 'error', format: 'json', write: () => undefined, now: () => new Date() }),
  });
  return { path, taken, refused, watch, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
};

test('what was written while the run began is taken, and then what comes later', async () => {
  await using one = await scene((path) => writeFileSync(path, textOf('a', 'b')));
  using _watch = one.watch;
  await until(() => one.taken.length > 0, { what: 'the file of meanwhile is taken' });
  writeFileSync(one.path, textOf('b'));
  await until(() => one.taken.length > 1, { what: 'the next one, too' });
  expect(one.taken).toEqual([['a', 'b'], ['b']]);
});

test('a file that was broken meanwhile is refused; one that is as it was read is not taken once more', async () => {
  await using broken = await scene((path) => writeFileSync(path, '{'));
  using _broken = broken.watch;
  await using same = await scene(() => undefined);
  using _same = same.watch;
  await until(() => broken.refused.length > 0, { what: 'it is refused' });
  writeFileSync(same.path, textOf('c'));
  await until(() => same.taken.length > 0, { what: 'the change is taken' });
  expect([broken.taken, same.taken]).toEqual([[], [['c']]]);
});
