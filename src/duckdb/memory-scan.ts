// Columns of our own memory as rows of a statement: a table function that hands them to DuckDB 2,048 rows at a time. A text is
// given as DuckDB keeps one (16 bytes: its length and up to 12 bytes, or its length, 4 bytes and an address), so that a million of
// them cost no call each, and no copy. Invariant: what a text points to is held until the statement that reads it has ended.

import { assert } from '../errors.ts';
import type { FieldType } from '../model/feed.ts';
import { type Connection, query, run, type SqlValue } from './connection.ts';

export type ScanType =
  | { readonly kind: Exclude<FieldType['kind'], 'struct' | 'list' | 'json' | 'decimal'> }
  | (FieldType & { readonly kind: 'decimal' });

/** A column of at most SCAN_ROWS rows at a time. */
export type ScanColumn = {
  readonly name: string;
  readonly type: ScanType;
  /** `rowBytes` for each row, as DuckDB keeps them. */
  readonly data: ArrayBuffer;
  readonly rowBytes: number;
  /** A bit for each row, 0: NULL; only looked at when there is any. */
  readonly validity: Uint32Array<ArrayBuffer>;
  readonly anyNull: boolean;
};

export type Scan = {
  readonly columns: readonly ScanColumn[];
  /** Fills the columns anew, from their first row on, and says with how many rows; 0: there are no more. */
  readonly fill: () => number;
};

/** What DuckDB takes in one call. */
export const SCAN_ROWS = 2048;
/** What a text is long at most that is kept with its length, not elsewhere. */
export const SHORT_TEXT_BYTES = 12;
export const TEXT_BYTES = 16;
const WORD = 2 ** 32;

const load = async () => {
  const [api, bindings] = await Promise.all([import('@duckdb/node-api'), import('@duckdb/node-bindings')]);
  return { api, bindings: bindings.default };
};
type Loaded = Awaited<ReturnType<typeof load>>;

/** Bytes in DuckDB's memory, for texts to point into; `low` and `high` are the halves of their address. */
export type HeldBytes = { readonly low: number; readonly high: number; readonly release: () => void };
export type HeldText = { readonly source: Uint8Array; readonly held: HeldBytes };

type Ready = {
  readonly loaded: Loaded;
  readonly name: string;
  scan: Scan | null;
  /** What `fill` has thrown: DuckDB would only tell its words. */
  failure: { readonly error: unknown } | null;
  readonly spare: ReturnType<Loaded['bindings']['create_data_chunk']>[];
};

const ready = new WeakMap<Connection, Promise<Ready>>();
let made = 0;

/** A function of this connection's own: it reads what this connection was given last. */
function readyOf(connection: Connection): Promise<Ready> {
  const known = ready.get(connection);
  if (known) return known;
  const making = makeReady(connection);
  ready.set(connection, making);
  // Such as for want of memory, at that moment.
  making.catch(() => ready.delete(connection));
  return making;
}

async function makeReady(connection: Connection): Promise<Ready> {
  const loaded = await load();
  const { api } = loaded;
  const own: Ready = { loaded, name: `lake_memory_${made++}`, scan: null, failure: null, spare: [] };
  const scanned = (): Scan => {
    assert(own.scan, `${own.name} is read outside of its statement`);
    return own.scan;
  };
  connection.registerTableFunction(
    api.DuckDBTableFunction.create({
      name: own.name,
      bindFunction: (info) => {
        for (const { name, type } of scanned().columns) info.addResultColumn(name, duckdbTypeOf(api, type));
      },
      initFunction: (info) => info.setInitData({}),
      mainFunction: (_, output) => {
        const { columns, fill } = scanned();
        const rows = kept(own, fill);
        output.rowCount = rows;
        for (const [index, column] of columns.entries()) copyRows(loaded, output.chunk, { index, column, rows });
      },
    }),
  );
  await assertLayout(connection, own);
  return own;
}

function kept(own: Ready, fill: () => number): number {
  try {
    return fill();
  } catch (error) {
    own.failure = { error };
    throw error;
  }
}

type Rows = { readonly index: number; readonly column: ScanColumn; readonly rows: number };

function copyRows({ bindings }: Loaded, chunk: Parameters<Loaded['bindings']['data_chunk_get_vector']>[0], given: Rows): void {
  const { column, rows } = given;
  if (rows === 0) return;
  const vector = bindings.data_chunk_get_vector(chunk, given.index);
  bindings.copy_data_to_vector(vector, 0, column.data, 0, rows * column.rowBytes);
  if (!column.anyNull) return;
  bindings.vector_ensure_validity_writable(vector);
  bindings.copy_data_to_vector_validity(vector, 0, column.validity.buffer, 0, Math.ceil(rows / 64) * 8);
}

function duckdbTypeOf(api: Loaded['api'], type: ScanType) {
  switch (type.kind) {
    case 'decimal':
      return api.DECIMAL(type.precision, type.scale);
    case 'timestamp':
      return api.TIMESTAMPTZ;
    case 'varchar':
      return api.VARCHAR;
    case 'blob':
      return api.BLOB;
    case 'bigint':
      return api.BIGINT;
    case 'integer':
      return api.INTEGER;
    case 'double':
      return api.DOUBLE;
    case 'boolean':
      return api.BOOLEAN;
    case 'date':
      return api.DATE;
  }
}

/** Copies bytes to where DuckDB can read them, until they are released. */
export async function holdBytes(connection: Connection, bytes: Uint8Array): Promise<HeldBytes> {
  return held(await readyOf(connection), bytes);
}

function held({ loaded: { api, bindings }, spare }: Ready, bytes: Uint8Array): HeldBytes {
  // What is this short is kept with the lengths, and is nowhere to point to.
  if (bytes.length <= SHORT_TEXT_BYTES) return { low: 0, high: 0, release: () => undefined };
  const chunk = spare.pop() ?? bindings.create_data_chunk([api.BLOB.toLogicalType().logical_type]);
  bindings.data_chunk_set_size(chunk, 1);
  const vector = bindings.data_chunk_get_vector(chunk, 0);
  bindings.vector_assign_string_element_len(vector, 0, bytes);
  const { buffer, byteOffset } = bindings.vector_get_data(vector, TEXT_BYTES);
  const view = new DataView(buffer, byteOffset, TEXT_BYTES);
  assert(view.getUint32(0, true) === bytes.length, 'DuckDB keeps the length of a text elsewhere than expected');
  const release = (): void => {
    // Frees at once; the garbage collector would do it when it is too late.
    bindings.data_chunk_reset(chunk);
    spare.push(chunk);
  };
  return { low: view.getUint32(8, true), high: view.getUint32(12, true), release };
}

/** Runs a statement over the rows, `from` being where they are read. Returns how many rows it has changed. One statement at a time
 *  on a connection. Throws engine_failed, and what `fill` throws. */
export async function runOverMemory(connection: Connection, scan: Scan, sql: (from: string) => string): Promise<number> {
  const own = await readyOf(connection);
  return overMemory(own, scan, () => run(connection, sql(`${own.name}()`)));
}

async function overMemory<T>(own: Ready, scan: Scan, work: () => Promise<T>): Promise<T> {
  assert(own.scan === null, `${own.name} is read twice at a time`);
  own.scan = scan;
  try {
    return await work();
  } catch (error) {
    throw own.failure === null ? error : own.failure.error;
  } finally {
    own.scan = null;
    own.failure = null;
  }
}

/** Writes a text that lies at `from` in `source`, and so in what is held of it, as row `row`. */
export function writeText(words: Uint32Array, row: number, { source, held }: HeldText, from: number, to: number): void {
  const length = to - from;
  const at = row * 4;
  words[at] = length;
  if (length > SHORT_TEXT_BYTES) {
    words[at + 1] = fourBytes(source, from, 4);
    const low = held.low + from;
    words[at + 2] = low;
    words[at + 3] = held.high + (low >= WORD ? 1 : 0);
    return;
  }
  words[at + 1] = length > 0 ? fourBytes(source, from, length) : 0;
  words[at + 2] = length > 4 ? fourBytes(source, from + 4, length - 4) : 0;
  words[at + 3] = length > 8 ? fourBytes(source, from + 8, length - 8) : 0;
}

/** Up to four bytes as DuckDB's processor reads them: the first one is the lowest. */
function fourBytes(source: Uint8Array, from: number, length: number): number {
  let word = source[from] ?? 0;
  if (length > 1) word |= (source[from + 1] ?? 0) << 8;
  if (length > 2) word |= (source[from + 2] ?? 0) << 16;
  if (length > 3) word |= (source[from + 3] ?? 0) << 24;
  return word;
}

const PROOF = ['', 'a', 'twelve bytes', 'thirteen byte', 'a text that is longer than all others'];

/** Whether this DuckDB keeps its values as written here: once a connection, before anything is trusted to it. */
async function assertLayout(connection: Connection, own: Ready): Promise<void> {
  const source = new TextEncoder().encode(`${PROOF.join('')}beyond the last`);
  const bytes = held(own, source);
  const words = new Uint32Array((PROOF.length + 1) * 4);
  const numbers = new BigInt64Array(PROOF.length + 1);
  let from = 0;
  for (const [row, { length }] of PROOF.entries()) {
    writeText(words, row, { source, held: bytes }, from, from + length);
    numbers[row] = BigInt(row) - 2n ** 40n;
    from += length;
  }
  const count = PROOF.length + 1;
  const nulls = { validity: Uint32Array.of(~(1 << PROOF.length), 0xffffffff), anyNull: true };
  const columns: ScanColumn[] = [
    { name: 't', type: { kind: 'varchar' }, data: words.buffer, rowBytes: TEXT_BYTES, ...nulls },
    { name: 'n', type: { kind: 'bigint' }, data: numbers.buffer, rowBytes: 8, ...nulls },
  ];
  let left = count;
  const fill = (): number => {
    const rows = left;
    left = 0;
    return rows;
  };
  const found = await overMemory(own, { columns, fill }, () => query(connection, `SELECT t, n FROM ${own.name}()`));
  bytes.release();
  const expected: SqlValue[][] = [...PROOF.map((text, row) => [text, BigInt(row) - 2n ** 40n]), [null, null]];
  const same = found.every((row, index) => row['t'] === expected[index]?.[0] && row['n'] === expected[index]?.[1]);
  assert(found.length === count && same, 'DuckDB keeps values in another way than expected');
}
