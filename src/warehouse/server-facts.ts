// What a database server says of itself, for `lake doctor`. Only reads.

import type { ServerFacts } from '../model/doctor.ts';
import type { Warehouse } from './warehouse.ts';

export type ServerLook = {
  readonly facts: ServerFacts;
  /** How far the server's clock is ahead, and how long the question took. */
  readonly clock: { readonly skewMs: number; readonly errorMs: number };
  /** Of the lake that the database belongs to; null: it belongs to none yet. */
  readonly lakeId: string | null;
};

export async function lookAtServer(
  warehouse: Warehouse,
  { database, nowMs, signal }: { readonly database: string; readonly nowMs: () => number; readonly signal: AbortSignal },
): Promise<ServerLook> {
  const rows = (text: string, values: readonly string[] = []) => warehouse.run({ text, values }, signal);
  const before = nowMs();
  const [clock] = await rows('SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000 AS SIGNED) AS now_ms');
  const after = nowMs();
  const [row] = await rows(
    `SELECT VERSION() AS version, @@GLOBAL.max_allowed_packet AS packet, @@GLOBAL.sql_mode AS mode, @@GLOBAL.read_only AS ro,
       IF(@@GLOBAL.time_zone = 'SYSTEM', @@system_time_zone, @@GLOBAL.time_zone) AS zone`,
  );
  const grants = (await rows('SHOW GRANTS')).flatMap((grant) => Object.values(grant).map(String));
  const tables = 'SELECT 1 AS found FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?';
  const [identity] = await rows(tables, ['lake_identity']);
  const [lake] = identity ? await rows('SELECT lake_id FROM lake_identity') : [];
  return {
    facts: {
      engine: warehouse.engine,
      version: String(row?.['version']),
      packetBytesMax: Number(row?.['packet']),
      sqlMode: String(row?.['mode']),
      timeZone: String(row?.['zone']),
      isReadOnly: Number(row?.['ro']) === 1,
      grants,
      database,
    },
    clock: { skewMs: Number(clock?.['now_ms']) - (before + after) / 2, errorMs: (after - before) / 2 },
    lakeId: lake ? String(lake['lake_id']) : null,
  };
}
