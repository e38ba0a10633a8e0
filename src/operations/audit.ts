// What was done to feeds, tables and snapshots, by whom and when: the lake's journal and the warehouse's audit_log.

import { LakeError } from '../errors.ts';
import { readJournal } from '../lake/audit.ts';
import { type Audited, auditTrail } from '../model/audit-trail.ts';
import { auditRows } from '../warehouse/inspect.ts';
import type { Installation } from './installation.ts';
import { readWarehouse } from './positions.ts';

export type AuditReport = { readonly trail: readonly Audited[]; readonly errors: readonly LakeError[] };

/** What happened at or after `sinceMs`; null: ever. A warehouse that is away is told, and the journal is there. */
export async function lookAtAudit(installation: Installation, sinceMs: number | null): Promise<AuditReport> {
  const lines = await readJournal(await installation.lake());
  const { rows, errors } = await rowsOf(installation);
  const trail = auditTrail(lines, rows);
  return { trail: trail.filter(({ at }) => sinceMs === null || Date.parse(at) >= sinceMs), errors };
}

/** All of them: a row may be the same as a line on the other side of `since`. */
async function rowsOf(installation: Installation): Promise<{ rows: readonly Audited[]; errors: readonly LakeError[] }> {
  try {
    const read = readWarehouse(installation, (warehouse) => auditRows(warehouse, installation.signal), []);
    return { rows: await read, errors: [] };
  } catch (error) {
    if (!(error instanceof LakeError) || error.code === 'bug') throw error;
    return { rows: [], errors: [error] };
  }
}
