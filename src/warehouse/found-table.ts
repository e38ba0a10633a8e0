// A table as the server describes it in information_schema. Read-only; the parts are pure.

import type { Row, Warehouse } from './warehouse.ts';

export type FoundColumn = {
  readonly name: string;
  /** Lower case, without length: `bigint`, `varchar`. */
  readonly kind: string;
  /** As the server writes it: `bigint(20) unsigned`. */
  readonly type: string;
  readonly nullable: boolean;
  readonly hasDefault: boolean;
  readonly autoIncrement: boolean;
  readonly generated: boolean;
  readonly charset: string | null;
  readonly collation: string | null;
  readonly comment: string;
};

export type FoundIndex = {
  readonly name: string;
  readonly unique: boolean;
  readonly parts: readonly { readonly column: string; readonly length: number | null }[];
};

export type FoundTable = {
  readonly kind: 'table' | 'view';
  readonly engine: string;
  readonly collation: string;
  readonly columns: readonly FoundColumn[];
  readonly indexes: readonly FoundIndex[];
};

/** null: there is no table or view of that name, or none that this user may see. */
export async function readTable(warehouse: Warehouse, table: string, signal: AbortSignal): Promise<FoundTable | null> {
  const { described } = warehouse.dialect;
  const [found] = await warehouse.run(described.table(table), signal);
  if (found === undefined) return null;
  const columns = await warehouse.run(described.columns(table), signal);
  const indexes = described.indexes ? await warehouse.run(described.indexes(table), signal) : [];
  return foundTable({ table: found, columns, indexes });
}

type Rows = { readonly table: Row; readonly columns: readonly Row[]; readonly indexes: readonly Row[] };

export function foundTable({ table, columns, indexes }: Rows): FoundTable {
  const byName = new Map<string, { name: string; unique: boolean; parts: { column: string; length: number | null }[] }>();
  for (const row of indexes) {
    const name = textOf(row['name']);
    const index = byName.get(name) ?? { name, unique: Number(textOf(row['repeats'])) === 0, parts: [] };
    const length = textOf(row['length']);
    index.parts.push({ column: textOf(row['part']), length: length === '' ? null : Number(length) });
    byName.set(name, index);
  }
  return {
    kind: /view/i.test(textOf(table['type'])) ? 'view' : 'table',
    engine: textOf(table['engine']),
    collation: textOf(table['collation']),
    columns: columns.map(foundColumn),
    indexes: [...byName.values()],
  };
}

function foundColumn(row: Row): FoundColumn {
  const extra = textOf(row['extra']).toLowerCase();
  return {
    name: textOf(row['name']),
    kind: textOf(row['kind']).toLowerCase(),
    type: textOf(row['type']).toLowerCase(),
    nullable: textOf(row['nullable']) === 'YES',
    hasDefault: (row['preset'] ?? null) !== null,
    autoIncrement: extra.includes('auto_increment'),
    // Not by EXTRA: MySQL says DEFAULT_GENERATED there of a plain column whose default is an expression.
    generated: textOf(row['expression']) !== '',
    charset: textOf(row['charset']) || null,
    collation: textOf(row['collation']) || null,
    comment: textOf(row['comment']),
  };
}

/** NULL is ''. Some versions call these texts binary. */
const textOf = (value: Row[string] | undefined): string =>
  value === null || value === undefined ? '' : value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : String(value);
