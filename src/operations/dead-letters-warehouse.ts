// Dead letters of the warehouse tried again, or dropped, some at a time, each time in one transaction (PROTOCOL M3).
// Invariant: letters that another one closes meanwhile are left to it; what the server refuses as a row stays a dead letter.

import { LakeError } from '../errors.ts';
import { rulesOf } from '../ingest/pins.ts';
import { batchOf, dropStaged, stageMessages } from '../ingest/stage-messages.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import { addClosed, type Closed, firstOf, letterKey, NO_CLOSED, type RefusedLetter } from '../model/dead-letters.ts';
import type { Feed } from '../model/feed.ts';
import { LettersMoved, letterMessages, type WarehouseLetter, warehouseLetters } from '../warehouse/dead-letters.ts';
import { explained } from '../warehouse/explain.ts';
import { type FactTable, factTable } from '../warehouse/fact-table.ts';
import { patiently } from '../warehouse/patience.ts';
import { isOutgrown, raiseSchemaVersion } from '../warehouse/positions.ts';
import { RowsRefused } from '../warehouse/refused-rows.ts';
import { dropLetters, type RetriedLetter, retryLetters } from '../warehouse/retry-letters.ts';
import { setUpWarehouse } from '../warehouse/setup.ts';
import { setUpFactTable } from '../warehouse/setup-table.ts';
import { readBatch } from '../warehouse/staged-batch.ts';
import type { Warehouse } from '../warehouse/warehouse.ts';
import {
  asRefused,
  type Decoding,
  decodingOf,
  isHopeless,
  letterOf,
  type Retried,
  type RetryParts,
  toRaw,
} from './dead-letters-retry.ts';
import { type Installation, WAIT_MS_MAX } from './installation.ts';

/** Letters of one transaction, which holds the positions. */
const SOME = { countMax: 500, bytesMax: 4 * 1024 * 1024 };
const ROUNDS_MAX = 20;

type Done = { readonly closed: readonly Pick<RetriedLetter, 'as'>[]; readonly refused: readonly RefusedLetter[] };
/** Throws LettersMoved. */
type SomeWork = (letters: readonly WarehouseLetter[]) => Promise<Done>;

export async function retryInWarehouse(parts: RetryParts): Promise<Retried> {
  const { installation, feed, lake } = parts;
  const warehouse = await installation.warehouseToChange();
  let ready: Ready | null = null;
  const work: SomeWork = async (letters) => {
    const decoding = decodingOf(feed, await lake.writer.refresh(), installation.config.lake.timezone);
    if (decoding === null) return { closed: [], refused: letters.map(asRefused) };
    if (ready?.decoding.schemaVersion !== decoding.schemaVersion) {
      ready = { decoding, fact: factTable(decoding.feed, decoding.feed.fields, warehouse.dialect) };
      await prepare(parts, warehouse, ready);
    }
    return await retrySome({ ...ready, parts, warehouse }, letters);
  };
  return { feed: feed.name, target: 'warehouse', ...(await inTurns(parts, warehouse, work)), failure: null };
}

export async function dropInWarehouse(parts: RetryParts): Promise<Retried> {
  const { installation, feed } = parts;
  const { nowMs, signal } = installation;
  const warehouse = await installation.warehouseToChange();
  await prepare(parts, warehouse, null);
  const work: SomeWork = async (letters) => {
    const drop = { warehouse, feed: feed.name, topic: feed.topic, letters, createdBy: feed.createdBy, nowMs: nowMs() };
    await surely(installation, feed, warehouse, () => warehouse.transaction((tx) => dropLetters(tx, drop), signal));
    return { closed: letters.map(() => ({ as: 'dropped' as const })), refused: [] };
  };
  return { feed: feed.name, target: 'warehouse', ...(await inTurns(parts, warehouse, work)), failure: null };
}

/** Letters that come in meanwhile are another call's. */
async function inTurns({ installation, feed, selection, only }: RetryParts, warehouse: Warehouse, work: SomeWork) {
  const { signal, log } = installation;
  const refused = new Map<string, RefusedLetter>();
  let chosen: ReadonlySet<string> | null = null;
  let closed: Closed = NO_CLOSED;
  for (let lost = 0; lost < ROUNDS_MAX; lost += 1) {
    const of = { feed: feed.name, topic: feed.topic };
    const limit = chosen === null ? selection.limit : null;
    const wanted = { selection: { ...selection, limit }, states: ['open'] as const, signal };
    const found = await surely(installation, feed, warehouse, () => warehouseLetters(warehouse, of, wanted));
    const mine: ReadonlySet<string> = chosen ?? new Set(found.filter((one) => only?.has(letterOf(one)) ?? true).map(letterKey));
    chosen = mine;
    let todo = found.filter((letter) => mine.has(letterKey(letter)) && !refused.has(letterKey(letter)));
    try {
      while (todo.length > 0) {
        if (signal.aborted) throw new LakeError('aborted', `the dead letters of feed ${feed.name} were given up half-way`);
        const some = firstOf(todo, SOME);
        const done = await work(some);
        for (const letter of done.refused) refused.set(letterKey(letter), letter);
        closed = addClosed(closed, done.closed);
        if (done.closed.length > 0)
          log.info('dead_letters_closed', { feed: feed.name, target: 'warehouse', letters: done.closed.length });
        todo = todo.slice(some.length);
      }
      return { chosen: mine.size, closed, refused: [...refused.values()] };
    } catch (error) {
      if (!(error instanceof LettersMoved)) throw error;
    }
  }
  throw new LakeError('no_progress', `the dead letters of feed ${feed.name} lost ${ROUNDS_MAX} times to others`, {
    where: { feed: feed.name, target: 'warehouse' },
  });
}

type Ready = { readonly decoding: Decoding; readonly fact: FactTable };
type Some = Ready & { readonly parts: RetryParts; readonly warehouse: Warehouse };

/** A row that the server refuses is left out, and the others are tried again. */
async function retrySome(some: Some, letters: readonly WarehouseLetter[]): Promise<Done> {
  const { parts, warehouse } = some;
  const { installation, feed } = parts;
  const refused: RefusedLetter[] = letters.filter(isHopeless).map(asRefused);
  const hopeful = letters.filter((letter) => !isHopeless(letter));
  const messages = await surely(installation, feed, warehouse, () => letterMessages(warehouse, hopeful, installation.signal));
  for (let left = messages; ; ) {
    const tried = await tryOnce(some, left);
    if (!('rowsRefused' in tried)) return { closed: tried.closed, refused: [...refused, ...tried.refused] };
    for (const { partition, offset, reason } of tried.rowsRefused) refused.push({ partition, offset, field: null, reason });
    const gone = new Set(refused.map(letterKey));
    left = left.filter((letter) => !gone.has(letterKey(letter)));
  }
}

type Messages = Awaited<ReturnType<typeof letterMessages>>;

async function tryOnce(some: Some, messages: Messages): Promise<Done | { readonly rowsRefused: RowsRefused['rows'] }> {
  const { parts, warehouse, decoding, fact } = some;
  const { installation, feed, connection, lake } = parts;
  const { newId, nowMs, signal, config } = installation;
  const id = newId();
  const slices = (async function* () {
    yield messages.map(toRaw);
  })();
  const staged = await stageMessages(connection, decoding.plan, { name: `retry_${id}`, slices });
  try {
    const refused = staged.refused.map(({ partition, offset, field, reason }) => ({ partition, offset, field, reason }));
    const still = new Set(refused.map(letterKey));
    const converted = messages.filter((letter) => !still.has(letterKey(letter)));
    if (converted.length === 0) return { closed: [], refused };
    const of = { id, feed: feed.name, topic: feed.topic, eventTime: feed.eventTime, epoch: 0 };
    const batch = batchOf(staged, { ...of, schemaVersion: decoding.schemaVersion });
    const rows = await readBatch(connection, batch, { fact, engine: (work) => work(connection) });
    const letters = converted.map((letter) => ({ ...letter, isTombstone: letter.value === null }));
    const snapshots = feed.type === 'table' ? rulesOf({ feed, control: lake, timezone: config.lake.timezone }) : null;
    const retry = { warehouse, feed: feed.name, topic: feed.topic, fact, snapshots, letters, rows, nowMs: nowMs() };
    const { schemaVersion } = decoding;
    try {
      const closed = await surely(installation, feed, warehouse, () =>
        warehouse.transaction((tx) => retryLetters(tx, { ...retry, schemaVersion }), signal),
      );
      return { closed, refused };
    } catch (error) {
      if (error instanceof RowsRefused) return { rowsRefused: error.rows };
      throw error;
    } finally {
      await rows.drop();
    }
  } finally {
    await dropStaged(connection, staged.tables);
  }
}

/** The database is this lake's, and its tables are as the schema wants them. */
async function prepare({ installation, feed, lake }: RetryParts, warehouse: Warehouse, tables: Ready | null): Promise<void> {
  const { nowMs, signal } = installation;
  const identity = await readLakeIdentity(lake.writer.store);
  await surely(installation, feed, warehouse, async () => {
    if (identity) await setUpWarehouse(warehouse, { lakeId: identity.lakeId, feeds: [], nowMs: nowMs() }, signal);
    if (!tables) return;
    const { schemaVersion } = tables.decoding;
    const of = { feed: feed.name, table: tables.fact.name, version: schemaVersion };
    const mayWiden = await isOutgrown(warehouse, of, signal);
    await setUpFactTable(warehouse, tables.fact, signal, { mayWiden });
    await warehouse.run(raiseSchemaVersion({ feed: feed.name, topic: feed.topic }, schemaVersion), signal);
  });
}

/** What passes is waited for; a COMMIT without an answer shows when the letters are looked at again. */
const surely = <T>(
  { log, nowMs, signal }: Installation,
  feed: Feed,
  warehouse: Warehouse,
  work: () => Promise<T>,
): Promise<T> => {
  const patience = { feed: feed.name, log, nowMs, stop: signal, waitMsMax: WAIT_MS_MAX };
  const subject = `the dead letters of feed ${feed.name}`;
  return patiently(() => explained({ warehouse, subject, signal }, work), patience, signal);
};
