// What became of a message of a table in the lake: its row, the tombstone that it is, or the message that took its place. Which one
// that is, is told by its key, which Kafka has as long as it has the message.

import type { Exact } from '../duckdb/exact.ts';
import type { KeyColumn } from '../duckdb/snapshot-checksum.ts';
import { pinnedFields } from '../ingest/feed-schema.ts';
import type { Feed, TypedField } from '../model/feed.ts';
import { liveFiles } from '../model/feed-state.ts';
import type { JsonObject } from '../model/json-fields.ts';
import type { LakeFile } from '../model/log-entry.ts';
import { isOf, publishedFiles } from '../model/snapshot-files.ts';
import { type Told, told } from '../model/trace.ts';
import type { Hit } from './trace-files.ts';
import { entryFacts, type FoundIn, hitFacts, tableFiles } from './trace-lake.ts';
import { keyHashOf } from './trace-message.ts';

export async function traceTable(found: FoundIn): Promise<Told> {
  const { state, takenIn, finder, place } = found;
  const open = publishedFiles(liveFiles(state), state.snapshot);
  const hits = await finder.byPlace(tableFiles(state, takenIn.entry.version), place);
  const facts: JsonObject = { entry: entryFacts(takenIn), snapshots: hits.map(snapshotOf) };
  const row = hits.find(({ file }) => state.snapshot !== null && isOf(file, state.snapshot));
  if (row) return told('row', `${row.path} row ${row.row}`, { ...hitFacts(row), ...facts });
  const [grave] = open ? await finder.byPlace([open.state], place) : [];
  if (grave) return told('tombstone', 'its key is deleted', { key_is_gone: true, key: keyIn(found.feed, grave), ...facts });
  return afterwards(found, facts, open);
}

type Open = ReturnType<typeof publishedFiles<LakeFile>>;

/** It is not what its key is now. */
async function afterwards(found: FoundIn, facts: JsonObject, open: Open): Promise<Told> {
  const { feed, state, look, takenIn, finder } = found;
  const fields = state.schema ? pinnedFields(state.schema) : [];
  const hash = keyHashOf(feed, fields, look);
  if (hash === null) return withoutKey(found, facts);
  const key = keyColumns(feed, fields);
  const [live] = open ? await finder.byKey([open.data], key, hash) : [];
  const [grave] = open ? await finder.byKey([open.state], key, hash) : [];
  const winner = live ?? grave ?? null;
  const isTombstone = look.kind === 'message' && look.message.value === null;
  const by = winner && placeIn(winner.columns);
  if (isTombstone) {
    const more = { key_is_gone: !live, superseded_by: by, ...facts };
    if (live) return told('tombstone', `it deleted its key, which ${shown(by)} brought back`, more);
    return told('tombstone', grave ? `its key is deleted, by ${shown(by)} after it` : 'its key is deleted', more);
  }
  if (winner) return told('superseded', `${shown(by)} of the same key came later`, { superseded_by: by, ...facts });
  // A tombstone is forgotten at a seal, when no partition can bring an older row of its key.
  const first = takenIn.entry.snapshot;
  if (first?.date !== state.snapshot?.date || first?.version !== state.snapshot?.version)
    return told('superseded', 'its key is gone, deleted by a tombstone that is forgotten by now', {
      superseded_by: null,
      ...facts,
    });
  return told('unknown', `entry ${takenIn.entry.version} took it in, and its key is neither there nor deleted`, facts);
}

function withoutKey({ look, takenIn }: FoundIn, facts: JsonObject): Told {
  const { range } = takenIn;
  const isMessage = Number(range.end - range.start) === range.messages;
  const unsaid = { superseded_by: null, ...facts };
  if (Array.isArray(facts['snapshots']) && facts['snapshots'].length > 0)
    return told('superseded', 'it is a row of older snapshots; which message came later, Kafka cannot tell any more', unsaid);
  if (!isMessage && look.kind === 'absent')
    return told(
      'hole',
      'Kafka has no message at this offset: there was none, or log compaction took it after a later one',
      facts,
    );
  const kind = range.tombstones === 0 ? 'a later message of its key' : 'a later message of its key, or it was a tombstone';
  return told('superseded', `${kind}; which one, Kafka cannot tell any more`, unsaid);
}

const snapshotOf = ({ file, path, row }: Hit<LakeFile>): JsonObject => ({
  snapshot_date: file.values['snapshot_date'] ?? null,
  snapshot_version: Number(file.values['snapshot_version']),
  file: path,
  row,
});

const placeIn = ({ kafka_partition: partition, kafka_offset: offset }: Readonly<Record<string, Exact>>): JsonObject => ({
  kafka_partition: Number(partition),
  kafka_offset: String(offset),
});

const shown = (by: JsonObject | null): string => `${String(by?.['kafka_partition'])}:${String(by?.['kafka_offset'])}`;

const keyIn = ({ keyFields }: Feed, { columns }: Hit<LakeFile>): JsonObject =>
  Object.fromEntries(keyFields.map((name) => [name, columns[name] ?? null]));

export const keyColumns = ({ keyFields }: Feed, fields: readonly TypedField[]): readonly KeyColumn[] =>
  keyFields.flatMap((name) => {
    const field = fields.find((one) => one.name === name);
    return field ? [{ name, type: field.type }] : [];
  });
