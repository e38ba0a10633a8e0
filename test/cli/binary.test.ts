// The compiled binary as a user meets it: alone in an empty folder, with wrong flags, missing files, Kafka off.
import { afterAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BINARY } from '../helpers/ingest.ts';

/** Kafka that is off is asked for some seconds. */
setDefaultTimeout(300_000);
const folder = mkdtempSync(join(tmpdir(), 'lake-binary-'));
copyFileSync(BINARY, join(folder, 'lake'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const configured = (config: unknown): void => writeFileSync(join(folder, 'feeds.json'), JSON.stringify(config));
const GOOD = { kafka: { bootstrap_servers: '127.0.0.1:1' }, feeds: [{ feed_name: 'orders', feed_type: 'stream' }] };

type Said = { code: number | null; stdout: string; stderr: string };
function lake(...args: string[]): Said {
  const { exitCode, stdout, stderr } = Bun.spawnSync([join(folder, 'lake'), ...args], {
    cwd: folder,
    env: { HOME: folder, PATH: '/usr/bin:/bin' },
  });
  return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe('the binary alone', () => {
  test('says its version, its commit and its runtimes', () => {
    const { code, stdout } = lake('--version');
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^lake \d+\.\d+\.\d+ \(commit [0-9a-f]{12}\+?, bun \d+\.\d+\.\d+, duckdb \d+\.\d+\.\d+.*, kafkajs \d+\.\d+\.\d+\)\n$/,
    );
    expect(JSON.parse(lake('--version', '--json').stdout)).toMatchObject({
      version: expect.any(String),
      commit: expect.any(String),
    });
  });

  test('helps, with examples and exit codes', () => {
    for (const args of [[], ['--help'], ['ingest', '--help'], ['feeds', '--help']]) {
      const { code, stdout, stderr } = lake(...args);
      expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' });
      expect(stdout).toContain('Exit codes:');
    }
    expect(lake('ingest', '--help').stdout).toContain('lake ingest --feed customer_events --until-caught-up');
  });

  test.each([
    [['bogus'], 'there is no command bogus'],
    [['ingest', '--untill-caught-up'], 'there is no flag --untill-caught-up; did you mean "--until-caught-up"?'],
    [['ingets'], 'did you mean'],
    [['ingest', '--nope'], '--nope'],
    [['ingest', '--mode', 'fast'], 'it takes all, lake, warehouse'],
    [['ingest', '--on-gap', 'ignore'], 'it takes stop, record'],
    [['feeds', 'frobnicate'], 'it takes list, '],
    [['ingest', '--log-level', 'loud'], '--log-level'],
    [['ingest', '--feed', 'nope'], 'there is no feed nope'],
    [['ingest', 'customer_events'], '"customer_events" is more than it takes'],
    [['ingest', '--nope'], 'see  lake ingest --help'],
    [['rewind'], 'something is missing: it is  lake rewind <feed>'],
  ])('refuses %j as a usage error', (args, words) => {
    configured(GOOD);
    const { code, stdout, stderr } = lake(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(words);
    expect(stderr).toMatch(/^error: .*\n( {2}(where|cause|do|code) .*\n)+$/);
  });

  test('names a configuration that is not there', () => {
    const { code, stderr } = lake('ingest', '--config', 'missing.json');
    expect(code).toBe(2);
    expect(stderr).toContain('missing.json');
    expect(stderr).toContain('config_missing (exit 2)');
    expect(stderr).toContain('lake init');
  });

  test('a lake that would lie in a file is told with what to do, and no stack', () => {
    configured(GOOD);
    const { code, stderr } = lake('status', '--lake-path', 'feeds.json');
    expect(code).toBe(1);
    expect(stderr).toContain('where a folder has to be');
    expect(stderr).toContain('lake_not_writable (exit 1)');
    expect(stderr).not.toMatch(/^ +at /m);
  });

  test('tells every problem of a configuration at once, and touches nothing', () => {
    configured({
      kafka: { bootstrap_server: 'x' },
      feeds: [
        { feed_name: 'Orders', feed_type: 'steam' },
        { feed_name: 'b', feed_type: 'table' },
      ],
    });
    const before = readdirSync(folder);
    const { code, stderr } = lake('ingest', '--lake-path', 'new_lake');
    expect(code).toBe(2);
    for (const words of ['bootstrap_server', 'Orders', 'steam', 'feed b']) expect(stderr).toContain(words);
    expect(readdirSync(folder)).toEqual(before);
    const checked = lake('feeds', 'check', '--json');
    expect(checked.code).toBe(2);
    expect(JSON.parse(checked.stdout).issues.length).toBeGreaterThanOrEqual(4);
  });

  test('says that Kafka is off, and how to go on', () => {
    configured(GOOD);
    const { code, stderr } = lake('ingest', '--until-caught-up');
    expect(code).toBe(4);
    expect(stderr).toContain('Kafka at 127.0.0.1:1 does not answer');
    expect(stderr).toContain('do     start Kafka, or correct kafka.bootstrap_servers');
    expect(stderr).not.toContain('Timeout');
    const plan = lake('plan');
    expect(plan.code).toBe(4);
    expect(plan.stdout).toContain('messages\tnot known, for Kafka could not be asked\n');
  });

  test('lists feeds as a table in a pipe and as JSON', () => {
    configured(GOOD);
    expect(lake('feeds', 'list').stdout).toBe(
      'feed\ttype\ttopic\tdestination\tenabled\tfields\norders\tstream\torders\tdata_lake\tyes\tinferred\n',
    );
    expect(JSON.parse(lake('feeds', 'list', '--json').stdout)).toMatchObject([
      { feed: 'orders', type: 'stream', topic: 'orders' },
    ]);
  });
});
