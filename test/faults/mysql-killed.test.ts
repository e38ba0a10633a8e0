// mysqld killed before, during and after COMMIT, and under load; a server that went back to an older state (PROTOCOL 18): the
// warehouse waits, reads its positions and goes on, and has every message exactly once.

import { describe, expect, test } from 'bun:test';
import { drain, startLake } from '../helpers/ingest.ts';
import { mysqlEngines, startPrivateMysql } from '../helpers/mysql.ts';
import { until } from '../helpers/until.ts';
import { rowsOf, toWarehouse } from '../helpers/warehouse.ts';
import { warehouseScene } from '../helpers/warehouse-scene.ts';

async function scene(engine: 'mysql' | 'mariadb') {
  const server = await startPrivateMysql(engine);
  const inside = await warehouseScene(await server.createDatabase());
  return {
    ...inside,
    server,
    restart: async (): Promise<void> => {
      await server.stop({ signal: 'SIGKILL' });
      await server.start();
    },
    check: () => inside.check(inside.setup),
    [Symbol.asyncDispose]: async (): Promise<void> => {
      await inside[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

describe.each([...mysqlEngines])('%s', (engine) => {
  test('the server is killed around COMMIT, and under load', async () => {
    await using at = await scene(engine);
    await at.send(50);
    const lake = startLake(at.setup, ['ingest', ...toWarehouse.args]);
    await lake.event('batch_committed');
    const kill = async (): Promise<void> => await at.server.stop({ signal: 'SIGKILL' });
    for (const strike of [
      // In the middle of a transaction; before COMMIT is heard; while it is worked on; after it is answered, unheard.
      { at: 'DELETE f FROM', when: 'after', act: kill },
      { at: 'COMMIT', when: 'before', act: kill },
      { at: 'COMMIT', when: 'before', act: () => void kill(), goesOn: true },
      { at: 'COMMIT', when: 'after', act: kill },
    ] as const) {
      const struck = at.proxy.strike(strike);
      await at.send(100);
      await struck;
      await at.restart();
    }
    // A MySQL takes four seconds to come back.
    for (let round = 0; round < (engine === 'mysql' ? 1 : 3); round++) {
      const sending = (async () => {
        for (let part = 0; part < 20; part++) await at.send(50);
      })();
      const before = at.proxy.seen.length;
      await until(() => at.proxy.seen.length > before + at.chance.between(5, 40), { timeoutMs: 5_000 }).catch(() => {});
      await at.restart();
      await sending;
    }
    lake.kill('SIGTERM');
    const { code, stderr } = await lake.ended;
    expect([code, stderr]).toEqual([0, expect.stringContaining('"warehouse_waited_for"')]);
    await at.check();
  });
});

test('a run that is told to stop while the server hangs ends all the same, and nothing is lost', async () => {
  await using at = await scene('mariadb');
  await at.send(50);
  const lake = startLake(at.setup, ['ingest', ...toWarehouse.args]);
  await lake.event('batch_committed');
  const struck = at.proxy.strike({ at: 'INSERT INTO `fact_totals`', when: 'before', act: at.server.pause, goesOn: true });
  await at.send(100);
  await struck;
  lake.kill('SIGTERM');
  const { code, stderr } = await lake.ended;
  expect([code, stderr]).toEqual([0, expect.stringContaining('"batch_given_up"')]);
  at.server.resume();
  await at.check();
});

test('positions that went back with all rows, as after a fail-over that lost transactions, are followed', async () => {
  await using at = await scene('mariadb');
  await at.send(200);
  await drain(at.setup, toWarehouse);
  const connection = await at.database.connect({ multipleStatements: true });
  const tables = (
    await rowsOf(
      at.database,
      "SELECT table_name AS name FROM information_schema.tables WHERE table_type = 'BASE TABLE' AND table_schema = DATABASE()",
    )
  )
    .map((row) => String(row['name']))
    .filter((name) => /^(fact|lake_(positions|tombstones|dead_letters|gaps))/.test(name));
  for (const name of tables) await connection.query(`CREATE TABLE before_${name} AS SELECT * FROM ${name}`);
  await at.send(200);
  const lake = startLake(at.setup, ['ingest', ...toWarehouse.args]);
  await lake.event('batch_committed');
  await until(async () => (await rowsOf(at.database, 'SELECT SUM(messages) AS n FROM lake_positions'))[0]?.['n'] === '500');
  // One transaction, as the replica never saw those of the meantime.
  const back = tables.map((name) => `DELETE FROM ${name}; INSERT INTO ${name} SELECT * FROM before_${name};`).join(' ');
  await connection.query(`START TRANSACTION; ${back} COMMIT`);
  await at.send(100);
  await lake.event('commit_conflicted');
  await until(async () => (await rowsOf(at.database, 'SELECT SUM(messages) AS n FROM lake_positions'))[0]?.['n'] === '625');
  lake.kill('SIGTERM');
  expect((await lake.ended).code).toBe(0);
  await at.check();
});
