// The hands of lake feeds add: each does one step against Kafka, a file or the database, and may do it again.
// Invariant: what is there is never made another; what was done in the database is in audit_log with it, and in the journal right after.

import { dirname, join } from 'node:path';
import { createTopic } from '../broker/create-topic.ts';
import { currentActor } from '../config/actor.ts';
import { replaceText } from '../config/config-file.ts';
import { LakeError } from '../errors.ts';
import { type Audit, openAudit } from '../lake/audit.ts';
import { openLake } from '../lake/lake-identity.ts';
import { feedDetails } from '../model/feed-plan.ts';
import { WAREHOUSE_STATE_PATH } from '../model/paths.ts';
import { type AuditEntry, auditStatement, journalLine } from '../warehouse/audit.ts';
import { openWarehouse } from '../warehouse/open-warehouse.ts';
import { patiently } from '../warehouse/patience.ts';
import { grantReaders, recordGrantees } from '../warehouse/readers.ts';
import { performSync } from '../warehouse/registry-sync.ts';
import { lockSetup, setUpWarehouse } from '../warehouse/setup.ts';
import { setUpFactTable } from '../warehouse/setup-table.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import type { AddHands, AddPlan } from './feeds-add.ts';
import { writeFeedsFile } from './feeds-file.ts';
import { type Installation, WAIT_MS_MAX } from './installation.ts';

export async function openAddHands(installation: Installation, plan: AddPlan): Promise<AddHands & AsyncDisposable> {
  const { config, nowMs, log, signal } = installation;
  const { feed, file, topic, sql, fact } = plan;
  const store = await installation.lakeToChange();
  const journal = openAudit({ store, actor: currentActor(), nowMs, log });
  const tell = async (entries: readonly AuditEntry[]): Promise<void> => {
    journal.append(entries.map((entry) => journalLine(entry, nowMs())));
    await journal.end();
  };
  const ready = readyWarehouse(installation, plan, tell);
  return {
    topic: async () => {
      if (topic === null) return null;
      const made = await createTopic(await installation.kafka(), config.kafka, { topic: feed.topic, ...topic });
      const details = { partitions: topic.partitions, replication_factor: topic.replicationFactor };
      if (made === 'created')
        await tellLake(installation, journal, { feed: feed.name, action: 'topic_created', resource: feed.topic, details });
      return null;
    },
    configuration: async () => {
      await writeFeedsFile(file, plan.after);
      return null;
    },
    sql: async () => {
      if (sql === null) return null;
      const path = join(dirname(config.path), sql.name);
      await replaceText(path, { before: sql.before, after: sql.after });
      return null;
    },
    registry: () =>
      unlessBusy(async () => {
        const warehouse = await ready.get();
        await tell(await patiently(() => performSync(warehouse, plan.changes, signal), ready.patience, signal));
      }),
    table: () =>
      unlessBusy(async () => {
        const warehouse = await ready.get();
        if (fact !== null) await tell(await patiently(() => setUpFactTable(warehouse, fact, signal), ready.patience, signal));
      }),
    permissions: () =>
      unlessBusy(async () => {
        const warehouse = await ready.get();
        if (fact === null) return;
        await patiently(() => grantReaders(warehouse, feed, fact, signal), ready.patience, signal);
        await tell(await patiently(() => recordGrantees(warehouse, [feed], signal), ready.patience, signal));
      }),
    audit: async () => {
      const resource = file.options.path;
      const told = { feed: feed.name, action: 'feed_added', resource, details: feedDetails(feed) } as const;
      const left = plan.isRegistered
        ? await unlessBusy(async () => addRow(await ready.get(), { ...told, performedBy: feed.createdBy }, signal))
        : null;
      if (plan.isRegistered && left === null) await tell([told]);
      else await tellLake(installation, journal, told);
      return null;
    },
    [Symbol.asyncDispose]: async () => {
      await journal.end();
      await ready.close();
    },
  };
}

type Told = {
  readonly feed: string;
  readonly action: string;
  readonly resource: string;
  readonly details: Readonly<Record<string, string | number>>;
};

/** In the journal alone. */
async function tellLake({ nowMs }: Installation, journal: Audit, { feed, action, resource, details }: Told): Promise<void> {
  const at = new Date(nowMs()).toISOString();
  const id = `feeds/${feed}/${action}/${nowMs()}`;
  journal.append([{ id, at, actor: journal.actor, feed, target: 'lake', action, resource, rows: null, details }]);
  await journal.end();
}

/** The database with lake's tables and the feed's rows, made once when it is first asked for. */
function readyWarehouse(installation: Installation, { feed }: AddPlan, tell: (entries: readonly AuditEntry[]) => Promise<void>) {
  const { config, nowMs, newId, log, signal } = installation;
  const patience = { feed: null, log, nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
  let opened: Promise<Warehouse> | null = null;
  const open = async (): Promise<Warehouse> => {
    const store = await installation.lakeToChange();
    const { lakeId } = await openLake({ store, newId, nowMs });
    const embedded = { statePath: store.localPath(WAREHOUSE_STATE_PATH), publishEveryMs: 0 };
    const warehouse = await openWarehouse(config.warehouse, { log, patience, signal, ...embedded });
    const setup = { lakeId, feeds: [feed], nowMs: nowMs(), compression: config.lake.compression };
    try {
      await tell(await patiently(() => setUpWarehouse(warehouse, setup, signal), patience, signal));
      return warehouse;
    } catch (error) {
      await warehouse[Symbol.asyncDispose]();
      throw error;
    }
  };
  return {
    patience,
    get: () => {
      opened ??= open();
      return opened;
    },
    close: async () => {
      const warehouse = await opened?.catch(() => null);
      await warehouse?.[Symbol.asyncDispose]();
    },
  };
}

/** The embedded warehouse belongs to one process; the ingest that has it makes what is missing at its next start. */
async function unlessBusy(work: () => Promise<void>): Promise<{ readonly left: string } | null> {
  try {
    await work();
    return null;
  } catch (error) {
    if (error instanceof LakeError && error.code === 'warehouse_busy')
      return { left: 'lake ingest, which has the embedded warehouse, does it' };
    throw error;
  }
}

/** Once, however often it is told: until the feed is taken out again. */
async function addRow(warehouse: Warehouse, entry: AuditEntry, signal: AbortSignal): Promise<void> {
  const last = {
    text: `SELECT action FROM audit_log WHERE feed_name = ? AND action IN ('feed_added', 'feed_removed') ORDER BY audit_id DESC LIMIT 1`,
    values: [entry.feed],
  };
  await warehouse.transaction(async (tx) => {
    await lockSetup(tx, warehouse.dialect);
    const [row] = await tx.rows(last);
    if (row?.['action'] !== 'feed_added') await tx.change(auditStatement(warehouse.dialect, entry));
  }, signal);
}
