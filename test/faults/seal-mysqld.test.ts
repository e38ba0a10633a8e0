// mysqld killed while a snapshot is copied, and while it is switched (PROTOCOL M2, 18): the seal goes on where it was, the snapshots of
// both targets are the same, and the lake waited for nothing.

import { describe, expect, test } from 'bun:test';
import { expectSealed } from '../helpers/expect-sealed.ts';
import { startLake } from '../helpers/ingest.ts';
import { mysqlEngines, startPrivateMysql } from '../helpers/mysql.ts';
import { mysqlProxy, type Strike } from '../helpers/mysql-proxy.ts';
import { at, snapshotScene } from '../helpers/snapshot-scene.ts';

const COPY = 'SELECT copy_id FROM lake_snapshots';
const SWITCH = "UPDATE lake_snapshots SET state = 'sealed'";

describe.each([...mysqlEngines])('%s', (engine) => {
  test('killed in the copy, in the switch, and around its COMMIT', async () => {
    await using server = await startPrivateMysql(engine);
    await using database = await server.createDatabase();
    using proxy = await mysqlProxy(database.login.port);
    await using one = await snapshotScene({ database, port: proxy.port });
    console.log(`seed ${one.chance.seed}`);
    await one.change(at(0, 5), at(0, 30), 150, [0, 1, 2]);
    await one.run(at(0, 35), 'all');
    const kill = async (): Promise<void> => await server.stop({ signal: 'SIGKILL' });
    /** The COMMIT of the transaction that another statement is in; the kill is not heard of before. */
    const atCommit = (strike: Pick<Strike, 'when' | 'goesOn'>): Strike => ({
      ...{ at: SWITCH, when: 'before', goesOn: true },
      act: () => {
        committing = proxy.strike({ at: 'COMMIT', act: strike.goesOn ? () => void kill() : kill, ...strike });
      },
    });
    let committing: Promise<void> | null = null;
    const strikes: Strike[] = [
      { at: COPY, when: 'after', act: kill },
      { at: SWITCH, when: 'after', act: kill },
      atCommit({ when: 'before', goesOn: true }),
      atCommit({ when: 'after' }),
    ];
    // A MySQL takes four seconds to come back.
    const chosen = engine === 'mysql' ? strikes.slice(-2) : strikes;
    for (const [index, strike] of chosen.entries()) {
      const hour = index + 1;
      await one.change(at(hour, -20), at(hour) - 1, 60, [0, 1, 2]);
      await one.change(at(hour), at(hour) + 1_000, 40, [0, 1, 2]);
      const struck = proxy.strike(strike);
      const lake = startLake(one.setup, ['ingest', '--mode', 'all'], { clockMs: at(hour) - 1_000 });
      await struck;
      await committing;
      await lake.event('snapshot_sealed');
      await server.stop({ signal: 'SIGKILL' });
      await server.start();
      await lake.event('snapshot_sealed', 2);
      lake.kill('SIGTERM');
      const { code, stderr } = await lake.ended;
      expect([code, stderr]).toEqual([0, expect.stringContaining('"warehouse_waited_for"')]);
    }
    expect(await expectSealed(one, at(chosen.length, 30))).toBe(chosen.length);
  });
});
