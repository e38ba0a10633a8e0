// scripts/month: a month of synthetic data, taken in day by day by the clock of that day, into a lake and a MySQL; then compacted and
// retained by today's, with `lake verify` after each. Everything it made is gone afterwards. Exit 1 unless all is as it should be.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Admin, Kafka, logLevel } from 'kafkajs';
import mysql2, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { ensureBuilt } from './build.ts';
import { runScript, ScriptError, say } from './common.ts';
import { startServices, usual } from './services.ts';
import { DAY_MS, feedsOf, sendDay, type Topics } from './simulated/feeds.ts';
import { ingestDay } from './simulated/ingest-day.ts';
import { type Row, textTable } from './text-table.ts';

const USAGE = `usage: scripts/month [--days 32] [--messages 2000]
  --days      days that are simulated, today the last
  --messages  of each stream a day`;

type Options = { readonly days: number; readonly messages: number };

function readOptions(): Options {
  const { values } = parseArgs({ options: { days: { type: 'string' }, messages: { type: 'string' } } });
  const count = (text: string | undefined, otherwise: number): number => {
    const value = text === undefined ? otherwise : Number(text);
    if (!Number.isSafeInteger(value) || value < 1) throw new ScriptError(USAGE);
    return value;
  };
  return { days: count(values.days, 32), messages: count(values.messages, 2_000) };
}

type Month = Options & {
  readonly folder: string;
  readonly configPath: string;
  readonly lake: string;
  readonly kafka: Kafka;
  readonly topics: Topics;
  readonly sql: Connection;
};

async function main(): Promise<number> {
  if (process.argv.includes('--help')) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const options = readOptions();
  const lake = await ensureBuilt();
  const environment = { ...process.env, ...(await startServices(usual)) };
  const name = `month_${randomBytes(4).toString('hex')}`;
  say(`topics, groups and database are called ${name}`);
  const brokers = (environment['KAFKA_BOOTSTRAP_SERVERS'] ?? '').split(',');
  const login = {
    host: environment['MYSQL_HOST'] ?? '127.0.0.1',
    port: Number(environment['MYSQL_PORT'] ?? 3306),
    user: environment['MYSQL_USER'] ?? 'root',
    password: environment['MYSQL_PASSWORD'] ?? '',
  };
  const folder = mkdtempSync(join(tmpdir(), 'lake-month-'));
  const topics: Topics = { orders: `${name}_orders`, visits: `${name}_visits`, stock: `${name}_stock` };
  const configPath = join(folder, 'feeds.json');
  const config = {
    kafka: { bootstrap_servers: brokers, group_id: name, warehouse_group_id: `${name}_warehouse`, session_timeout_seconds: 6 },
    lake: { path: join(folder, 'data_lake') },
    warehouse: { engine: 'mysql', ...login, database: name },
    // Many small files, as a quiet feed leaves them.
    batch: { batch_size: Math.ceil(options.messages / 6), batch_timeout_seconds: 30 },
    feeds: feedsOf(topics),
  };
  writeFileSync(configPath, JSON.stringify(config, null, 2), { mode: 0o600 });
  const kafka = new Kafka({ brokers, clientId: 'lake-month', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const sql = await mysql2.createConnection({ ...login, supportBigNumbers: true });
  try {
    await createTopics(admin, topics);
    return await live({ ...options, folder, configPath, lake, kafka, topics, sql });
  } finally {
    await admin.deleteTopics({ topics: Object.values(topics) }).catch(() => undefined);
    await admin.deleteGroups([name, `${name}_warehouse`]).catch(() => undefined);
    await admin.disconnect();
    await sql.query(`DROP DATABASE IF EXISTS ${name}`);
    await sql.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function createTopics(admin: Admin, topics: Topics): Promise<void> {
  // What is a month old must not be deleted at once.
  const configEntries = [{ name: 'retention.ms', value: '-1' }];
  const list = Object.values(topics).map((topic) => ({ topic, numPartitions: 2, replicationFactor: 1, configEntries }));
  await admin.createTopics({ topics: list, waitForLeaders: false });
  for (const { topic } of list) while (!(await admin.fetchTopicOffsets(topic).catch(() => null))) await Bun.sleep(100);
}

async function live(month: Month): Promise<number> {
  const rows: Row[] = [];
  let isWell = true;
  const step = async (title: string, work: () => Promise<{ code: number; said: string }>): Promise<void> => {
    say(title);
    const startedMs = performance.now();
    const { code, said } = await work();
    isWell &&= code === 0;
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    rows.push({ step: title, exit: code, seconds, ...(await holdings(month)), what: said });
  };
  await step(`${month.days} days of lake ingest`, () => ingestDays(month));
  const verify = (...more: string[]) => step(['lake verify', ...more].join(' '), () => verified(month, more));
  await verify();
  await step('lake compact', async () => {
    const { code, actions } = await report(month, ['compact']);
    return { code, said: sumOf(actions) };
  });
  await verify();
  const plans: (readonly Action[])[] = [];
  const retention = (...more: string[]) =>
    step(['lake retention', ...more].join(' '), async () => {
      const { code, actions } = await report(month, ['retention', ...more]);
      plans.push(actions);
      return { code, said: sumOf(actions) };
    });
  await retention('--dry-run');
  await retention();
  await verify();
  await retention();
  await verify('--deep');
  process.stdout.write(`${textTable(rows)}\n\n`);
  const [planned = [], done = [], left = []] = plans;
  const isSame = JSON.stringify(planned) === JSON.stringify(done);
  if (!isSame) process.stdout.write('The dry run of retention showed another plan than the real run.\n');
  const isOver = isWell && isSame && done.length > 0 && left.length === 0;
  process.stdout.write(isOver ? 'Every step ended well, and verify found nothing.\n' : 'NOT every step ended well: see above.\n');
  return isOver ? 0 : 1;
}

async function ingestDays({ days, messages, configPath, kafka, topics }: Month): Promise<{ code: number; said: string }> {
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  try {
    for (let day = 0; day < days; day += 1) {
      const clockMs = Date.now() - (days - 1 - day) * DAY_MS;
      await sendDay(producer, topics, { day, clockMs, messages });
      await ingestDay(configPath, clockMs);
      if (day % 8 === 7) say(`${day + 1} of ${days} days`);
    }
  } finally {
    await producer.disconnect();
  }
  const total = days * (2 * messages + Math.ceil(messages / 4));
  return { code: 0, said: `${total} messages` };
}

type Action = { readonly rows: number; readonly files: number; readonly bytes: number };

async function run({ lake, folder, configPath }: Month, args: readonly string[]) {
  const child = Bun.spawn([lake, ...args, '--config', configPath, '--log-level', 'warn'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return { stdout: await new Response(child.stdout).text(), code: await child.exited };
}

async function report(month: Month, args: readonly string[]): Promise<{ code: number; actions: readonly Action[] }> {
  const { code, stdout } = await run(month, [...args, '--json']);
  return { code, actions: stdout === '' ? [] : JSON.parse(stdout).actions };
}

function sumOf(actions: readonly Action[]): string {
  const sum = (name: keyof Action): number => actions.reduce((all, action) => all + action[name], 0);
  return actions.length === 0 ? 'nothing to do' : `${actions.length} actions: ${sum('files')} files, ${sum('rows')} rows`;
}

async function verified(month: Month, more: readonly string[]): Promise<{ code: number; said: string }> {
  const { code, stdout } = await run(month, ['verify', '--json', ...more]);
  type Check = { readonly findings: readonly { readonly what: string }[] };
  const feeds: readonly { readonly checks: readonly Check[] }[] = stdout === '' ? [] : JSON.parse(stdout).feeds;
  const checks = feeds.flatMap((feed) => feed.checks);
  const findings = checks.flatMap((check) => check.findings);
  for (const { what } of findings) say(`found: ${what}`);
  return { code, said: `${checks.length} checks, ${findings.length} findings` };
}

/** What lies in the lake and in MySQL now. */
async function holdings(month: Month): Promise<Row> {
  const { stdout } = await run(month, ['status', '--json']);
  const lines: readonly { readonly files: number | null; readonly bytes: number | null }[] = JSON.parse(stdout);
  const sum = (name: 'files' | 'bytes'): number => lines.reduce((all, line) => all + (line[name] ?? 0), 0);
  const counts = await Promise.all(['fact_orders', 'fact_stock'].map((table) => countOf(month, table)));
  return { files: sum('files'), MB: (sum('bytes') / 1e6).toFixed(1), 'rows in MySQL': counts.reduce((a, b) => a + b, 0) };
}

async function countOf({ sql, topics }: Month, table: string): Promise<number> {
  const database = topics.orders.replace(/_orders$/, '');
  const [rows] = await sql.query<RowDataPacket[]>(`SELECT COUNT(*) AS n FROM ${database}.${table}`);
  return Number(rows[0]?.['n']);
}

await runScript(main);
