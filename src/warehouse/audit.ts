// Rows of audit_log: who did what to which table, when, with which counts (DESIGN §8).

import { currentActor } from '../config/actor.ts';
import type { JournalLine } from '../model/journal.ts';
import type { JsonValue } from '../model/json-fields.ts';
import type { Dialect } from './dialect.ts';
import type { Statement, Tx } from './warehouse.ts';

export type AuditAction =
  | 'table_created'
  | 'column_added'
  | 'column_widened'
  | 'view_created'
  | 'view_replaced'
  | 'feed_registered'
  | 'policy_registered'
  | 'feed_synced'
  | 'feed_imported'
  | 'permission_granted'
  | 'schema_pinned'
  | 'snapshot_opened'
  | 'snapshot_sealed'
  | 'table_rebuilt'
  | 'gap_recorded'
  | 'takeover'
  | 'files_deleted'
  | 'rows_deleted'
  | 'dead_letters_deleted'
  | 'dead_letters_retried'
  | 'dead_letters_dropped'
  | 'snapshot_deleted'
  | 'files_compacted'
  | 'feed_rewound'
  | 'feed_added'
  | 'feed_removed'
  | 'feed_enabled'
  | 'feed_disabled'
  | 'files_adopted'
  | 'snapshots_adopted';

export type AuditEntry = {
  readonly action: AuditAction;
  /** null: concerns no single feed. */
  readonly feed: string | null;
  /** The table, column or snapshot it was done to. */
  readonly resource: string;
  readonly details?: Readonly<Record<string, JsonValue>>;
  readonly rowCount?: number;
  readonly fileCount?: number;
  readonly byteCount?: number;
  /** User id, as created_by of the registry; 1 when not said. */
  readonly performedBy?: number;
  /** The server's clock when not said. */
  readonly atMs?: number;
};

const COLUMNS = 'feed_name, action, resource, details, row_count, file_count, byte_count, performed_by, actor, performed_at';

export const auditStatement = ({ now }: Dialect, entry: AuditEntry): Statement => ({
  text: `INSERT INTO audit_log (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, COALESCE(?, ${now}))`,
  values: [
    entry.feed,
    entry.action,
    entry.resource,
    entry.details === undefined ? null : JSON.stringify(entry.details),
    entry.rowCount ?? null,
    entry.fileCount ?? null,
    entry.byteCount ?? null,
    entry.performedBy ?? 1,
    currentActor(),
    entry.atMs === undefined ? null : timeText(entry.atMs),
  ],
});

/** One row a run of several transactions, which grows with it. */
export async function addToAudit(
  tx: Tx,
  dialect: Dialect,
  audit: AuditEntry & { readonly atMs: number; readonly rowCount: number },
): Promise<void> {
  const known = await tx.change({
    text: `UPDATE audit_log SET row_count = row_count + ? WHERE feed_name = ? AND action = ? AND resource = ? AND performed_at = ?`,
    values: [audit.rowCount, audit.feed, audit.action, audit.resource, timeText(audit.atMs)],
  });
  if (known === 0) await tx.change(auditStatement(dialect, audit));
}

/** The same for the lake's journal. A snapshot is sealed once; a table may be made again. */
export const journalLine = (entry: AuditEntry, nowMs: number): JournalLine => ({
  id: ['warehouse', entry.feed ?? '', entry.action, entry.resource, ...(entry.action === 'snapshot_sealed' ? [] : [nowMs])].join(
    '/',
  ),
  at: new Date(entry.atMs ?? nowMs).toISOString(),
  actor: currentActor(),
  feed: entry.feed,
  target: 'warehouse',
  action: entry.action,
  resource: entry.resource,
  rows: entry.rowCount ?? null,
  details: entry.details ?? {},
});

/** As columns of instants, which are in UTC, take it. */
export const timeText = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace('Z', '000');
/** Back from a column of instants: `2026-11-21 15:00:13.123456`. */
export const msOfTime = (text: string): number => Date.parse(`${text.replace(' ', 'T')}Z`);
