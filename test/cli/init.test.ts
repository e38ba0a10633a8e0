// lake init: a feeds.json to begin with, from flags or at a real terminal, which passes lake feeds check.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findConfigIssues } from '../../src/config/load.ts';
import { BINARY } from '../helpers/ingest.ts';
import { tempDir } from '../helpers/services.ts';
import { CTRL_D, terminal } from '../helpers/terminal.ts';

setDefaultTimeout(300_000);

function lake(folder: string, ...args: readonly string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync([BINARY, ...args], {
    cwd: folder,
    env: { PATH: '/usr/bin:/bin', HOME: folder },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}
const configIn = (folder: string) => findConfigIssues({ path: join(folder, 'feeds.json'), env: {} }).config;

describe('lake init', () => {
  test('writes a commented file that passes the check, says what is next, and leaves one that is there', async () => {
    await using folder = await tempDir();
    const made = lake(folder.path, 'init');
    expect(made).toMatchObject({ code: 0, stderr: '' });
    expect(made.stdout).toContain('lake feeds add');
    const text = readFileSync(join(folder.path, 'feeds.json'), 'utf8');
    expect(text).toContain('// One or more host:port');
    expect(lake(folder.path, 'feeds', 'check').code).toBe(0);
    expect(configIn(folder.path)).toMatchObject({ feeds: [], warehouse: { engine: 'duckdb' } });
    const again = lake(folder.path, 'init', '--timezone', 'Europe/Berlin');
    expect({ code: again.code, says: again.stderr.includes('feeds.json is there already') }).toEqual({ code: 2, says: true });
    expect(readFileSync(join(folder.path, 'feeds.json'), 'utf8')).toBe(text);
    expect(readdirSync(folder.path)).toEqual(['feeds.json']);
  });

  test('what stands in its comments works when the slashes are taken away', async () => {
    await using folder = await tempDir();
    lake(folder.path, 'init');
    const path = join(folder.path, 'feeds.json');
    const feeds = [...readFileSync(path, 'utf8').matchAll(/^ {2}\/\/ (\{ "feed_name"[\s\S]*?"auto_delete": true \} \})/gm)].map(
      ([, feed = '']) => feed.replaceAll(/^ {2}\/\/ /gm, ''),
    );
    expect(feeds.length).toBe(2);
    const server = /"warehouse": (\{.*\}),/.exec(readFileSync(path, 'utf8'))?.[1];
    const sasl = /"sasl": (\{.*\})/.exec(readFileSync(path, 'utf8'))?.[1];
    writeFileSync(path, `{ "kafka": { "sasl": ${sasl} }, "warehouse": ${server}, "feeds": [${feeds.join(',')}] }`);
    const env = { MYSQL_PASSWORD: 'x', KAFKA_PASSWORD: 'y' };
    expect(findConfigIssues({ path, env }).issues).toEqual([]);
  });

  test('writes down what flags say, but no password, and refuses what makes no configuration', async () => {
    await using folder = await tempDir();
    const flags = ['--bootstrap-servers', 'k1:9092,k2:9092', '--lake-path', 'here', '--timezone', 'Europe/Berlin'];
    const server = ['--mysql-host', 'db1', '--mysql-user', 'etl', '--mysql-password', 'secret'];
    const dry = lake(folder.path, 'init', '--dry-run', ...flags, ...server);
    expect(existsSync(join(folder.path, 'feeds.json'))).toBe(false);
    const shown = JSON.parse(lake(folder.path, 'init', '--dry-run', '--json', ...flags, ...server).stdout) as { text: string };
    expect(shown.text).toBe(dry.stdout);
    const made = lake(folder.path, 'init', '--json', ...flags, ...server);
    expect(Object.keys(JSON.parse(made.stdout))).toEqual(['path', 'lake']);
    const text = readFileSync(join(folder.path, 'feeds.json'), 'utf8');
    expect(text).toBe(dry.stdout);
    expect(text).not.toContain('secret');
    expect(configIn(folder.path)).toMatchObject({
      kafka: { bootstrapServers: ['k1:9092', 'k2:9092'] },
      lake: { path: join(folder.path, 'here'), timezone: 'Europe/Berlin' },
      warehouse: { engine: 'mysql', host: 'db1', user: 'etl', database: 'data_warehouse' },
    });
    const wrong = lake(folder.path, 'init', '--config', 'other.json', '--timezone', 'Mars/Olympus');
    expect({ code: wrong.code, says: wrong.stderr.includes('Mars/Olympus') }).toEqual({ code: 2, says: true });
    expect(readdirSync(folder.path)).toEqual(['feeds.json']);
  });

  test('asks at a terminal what no flag has said, and Enter takes what is shown', async () => {
    await using folder = await tempDir();
    const { answer, ended } = terminal([BINARY, 'init', '--timezone', 'UTC'], { cwd: folder.path });
    await answer('Kafka brokers, host:port [localhost:9092]: ', 'k1:9092');
    await answer('folder of the lake [data_lake]: ', '');
    await answer('a MySQL or MariaDB server', 'db1');
    await answer('its port [3306]: ', '3307');
    await answer('user; the password is taken from MYSQL_PASSWORD [root]: ', 'etl');
    await answer('database [data_warehouse]: ', '');
    const { code, shown } = await ended;
    expect({ code, isAsked: shown.includes('time zone') }).toEqual({ code: 0, isAsked: false });
    expect(configIn(folder.path)).toMatchObject({
      kafka: { bootstrapServers: ['k1:9092'] },
      lake: { path: join(folder.path, 'data_lake') },
      warehouse: { host: 'db1', port: 3307, user: 'etl', database: 'data_warehouse' },
    });
  });

  test('answers that end early leave nothing', async () => {
    await using folder = await tempDir();
    const { answer, ended } = terminal([BINARY, 'init'], { cwd: folder.path });
    await answer('Kafka brokers', CTRL_D);
    expect((await ended).code).toBe(1);
    expect(readdirSync(folder.path)).toEqual([]);
  });
});
