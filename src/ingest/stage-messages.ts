// Messages that are not fetched by a pipeline (dead letters tried again, samples of a dry run), decoded exactly and staged as a batch is.
// Invariant: every message ends as one staged row, one staged tombstone, or one of the refused; nothing is durable here.

import { isUtf8 } from 'node:buffer';
import { type Connection, run } from '../duckdb/connection.ts';
import type { StagedBatch } from '../model/batch.ts';
import type { DeadLetter } from '../model/memory-batch.ts';
import { SEPARATOR } from './chunk-bytes.ts';
import { type ChunkMessage, textOf } from './chunk-read.ts';
import { createStagedTables, type DecodePlan, decodeExactly, type StagedTables } from './decode.ts';
import { appendDecoded } from './decode-exact.ts';
import { decodeTombstones, type Tombstone } from './tombstones.ts';

/** A message as Kafka had it. */
export type RawMessage = Omit<DeadLetter, 'field' | 'reason'>;

export type StagedMessages = {
  readonly tables: StagedTables;
  readonly rows: number;
  readonly tombstones: number;
  readonly bytes: number;
  readonly refused: readonly DeadLetter[];
};

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

export type Decodings = {
  readonly decoded: ReturnType<typeof decodeExactly>['decoded'];
  readonly tombstones: ReturnType<typeof decodeTombstones>['decoded'];
  readonly letters: readonly DeadLetter[];
  /** Messages of a stream without a value: counted, and no row. */
  readonly ignored: number;
};

/** Why bytes are no text to be decoded, in the words of chunk-builder; null: they may be. */
function faultOf(value: Uint8Array): string | null {
  if (value.length === 0) return 'the value is empty';
  if (value.includes(SEPARATOR)) return 'the value holds the raw control character 0x1E';
  return isUtf8(value) ? null : 'the value is not valid UTF-8';
}

/** As a pipeline would decode them, one by one. */
export function decodeMessages(plan: DecodePlan, messages: readonly RawMessage[]): Decodings {
  const group: ChunkMessage[] = [];
  const deleted: Tombstone[] = [];
  const faulty: DeadLetter[] = [];
  let ignored = 0;
  for (const message of messages) {
    const { value } = message;
    if (value === null) {
      if (plan.shape.isTable) deleted.push(message);
      else ignored += 1;
      continue;
    }
    const fault = faultOf(value);
    if (fault !== null) faulty.push({ ...message, field: null, reason: fault });
    else group.push({ ...message, value, text: UTF8.decode(value), keyText: message.key && textOf(message.key) });
  }
  const exact = decodeExactly(plan, group);
  const gone = decodeTombstones(plan, deleted);
  return { decoded: exact.decoded, tombstones: gone.decoded, letters: [...faulty, ...exact.letters, ...gone.letters], ignored };
}

/** `slices` are asked for one after the other. The tables are the caller's to drop. Throws engine_failed. */
export async function stageMessages(
  connection: Connection,
  plan: DecodePlan,
  { name, slices }: { readonly name: string; readonly slices: AsyncIterable<readonly RawMessage[]> },
): Promise<StagedMessages> {
  const tables = await createStagedTables(connection, plan, name);
  const refused: DeadLetter[] = [];
  let [rows, tombstones, bytes] = [0, 0, 0];
  for await (const messages of slices) {
    const { decoded, tombstones: gone, letters } = decodeMessages(plan, messages);
    await appendDecoded(connection, plan.shape, tables.rows, decoded);
    if (plan.tombstones && tables.tombstones) await appendDecoded(connection, plan.tombstones.shape, tables.tombstones, gone);
    rows += decoded.length;
    tombstones += gone.length;
    for (const { key, value } of messages) bytes += (key?.length ?? 0) + (value?.length ?? 0) + 24;
    for (const letter of letters) refused.push({ ...letter, key: null, value: null });
  }
  return { tables, rows, tombstones, bytes, refused };
}

export async function dropStaged(connection: Connection, { rows, deadLetters, tombstones }: StagedTables): Promise<void> {
  for (const table of [rows, deadLetters, tombstones]) if (table) await run(connection, `DROP TABLE IF EXISTS ${table}`);
}

/** What was staged, as a batch of no range. */
export function batchOf(
  { tables, rows, bytes }: StagedMessages,
  parts: Pick<StagedBatch, 'id' | 'feed' | 'topic' | 'eventTime' | 'epoch' | 'schemaVersion'>,
): StagedBatch {
  return { ...parts, ranges: [], tables, rows, deadLetters: 0, bytes: Math.max(1, bytes) };
}
