// A table that is there, beside what a feed needs: what may be added, and what a person has to change, with the ALTER to run.
// Pure. Invariant: after this ALTER the next check finds nothing; lake itself only ever adds nullable columns.

import { LakeError } from '../errors.ts';
import { columnFit } from './column-check.ts';
import { addedDefinition, indexDefinition, isFilled } from './ddl.ts';
import type { SqlColumn, SqlTable } from './fact-table.ts';
import type { FoundColumn, FoundIndex, FoundTable } from './found-table.ts';
import { mysqlName, mysqlText } from './mysql-types.ts';
import type { Statement } from './warehouse.ts';

/** `clause` of an ALTER TABLE; null: no ALTER helps. */
type Problem = { readonly text: string; readonly clause: string | null; readonly widening?: Widening };

type Widening = {
  readonly column: SqlColumn;
  readonly statement: Statement;
  /** Types, as the server writes the old one. */
  readonly from: string;
  readonly to: string;
};

export type TableVerdict =
  /** The table has all that is needed, or will have with these columns. */
  | {
      readonly kind: 'usable';
      readonly missing: readonly SqlColumn[];
      /** Columns that become wider at once: where nobody else has a say, or because the schema has grown. */
      readonly widened?: readonly Widening[];
    }
  | { readonly kind: 'differs'; readonly table: string; readonly problems: readonly string[]; readonly alter: string | null };

const same = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

export function checkTable(table: SqlTable, found: FoundTable, { mayWiden } = { mayWiden: false }): TableVerdict {
  if (found.kind === 'view') {
    return { kind: 'differs', table: table.name, problems: ['is a view, and no rows can be kept in it'], alter: null };
  }
  const missing = table.columns.filter((column) => !columnOf(found, column));
  const addable = missing.filter((column) => column.role === 'field');
  const ofColumns = table.columns.flatMap((column) => checkColumn(columnOf(found, column), column, table));
  const widened = mayWiden ? ofColumns.flatMap(({ widening }) => widening ?? []) : [];
  const problems = [
    ...checkOptions(found),
    ...ofColumns.filter(({ widening }) => !mayWiden || widening === undefined),
    ...missing.filter((column) => column.role !== 'field').map((column) => missingColumn(column, found)),
    ...checkOthers(table, found),
    ...checkIndexes(table, found),
  ];
  if (problems.length === 0) return { kind: 'usable', missing: addable, ...(mayWiden ? { widened } : {}) };
  return {
    kind: 'differs',
    table: table.name,
    problems: problems.map(({ text }) => text),
    alter: alterText(
      table,
      problems.flatMap(({ clause }) => clause ?? []),
    ),
  };
}

const columnOf = (found: FoundTable, column: SqlColumn): FoundColumn | undefined =>
  found.columns.find(({ name }) => same(name, column.name));

function alterText(table: SqlTable, clauses: readonly string[]): string | null {
  if (clauses.length === 0) return null;
  const text = `ALTER TABLE ${table.quoted}\n  ${clauses.join(',\n  ')};`;
  // What a TIMESTAMP holds is turned into a text by the zone of the session that runs this.
  return /MODIFY COLUMN .* DATETIME/.test(text) ? `SET time_zone = '+00:00';\n${text}` : text;
}

function checkOptions(found: FoundTable): Problem[] {
  const problems: Problem[] = [];
  if (!same(found.engine, 'InnoDB')) {
    problems.push({ text: `its engine is ${found.engine}, which has no transactions`, clause: 'ENGINE = InnoDB' });
  }
  if (!found.collation.startsWith('utf8mb4_')) {
    const clause = 'DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci';
    problems.push({ text: `its character set is that of ${found.collation}, not utf8mb4`, clause });
  }
  return problems;
}

function checkColumn(found: FoundColumn | undefined, column: SqlColumn, table: SqlTable): Problem[] {
  if (found === undefined) return [];
  const modify = (type: string): string => {
    const definition = `${type} ${column.role === 'key' ? 'NOT NULL' : 'NULL'}`;
    return `MODIFY COLUMN ${column.quoted} ${isFilled(column) ? column.definition : definition}`;
  };
  if (found.generated) {
    const clause = `DROP COLUMN ${column.quoted}, ADD COLUMN ${column.quoted} ${addedDefinition(column)}`;
    return [{ text: `column ${column.name} is generated, and cannot be written`, clause }];
  }
  const fit = columnFit(found, column);
  if (fit.kind !== 'fits') {
    const problem = { text: `column ${column.name} ${fit.why}`, clause: modify(fit.type) };
    return [
      fit.kind === 'narrower' && column.field !== null
        ? { ...problem, widening: widen(fit.type, { found, column, table }) }
        : problem,
    ];
  }
  if (column.holds.kind === 'id' && !found.autoIncrement) {
    return [{ text: `column ${column.name} is not AUTO_INCREMENT`, clause: modify(column.type) }];
  }
  if (found.charset !== null && found.charset !== 'utf8mb4' && column.holds.kind !== 'key_hash') {
    const text = `column ${column.name} has the character set ${found.charset}, not utf8mb4`;
    return [{ text, clause: modify(withCharset(found.type)) }];
  }
  if (!found.nullable && column.role === 'field' && column.field?.required !== true) {
    const clause = `MODIFY COLUMN ${column.quoted} ${asFound(found)} NULL`;
    return [{ text: `column ${column.name} is NOT NULL, but a message may lack the field`, clause }];
  }
  return [];
}

type Narrow = { readonly found: FoundColumn; readonly column: SqlColumn; readonly table: SqlTable };

/** All else of the column stays as it is. */
function widen(type: string, { found, column, table }: Narrow): Widening {
  const isText = found.charset !== null && !type.includes('CHARACTER SET') && /^(VARCHAR|LONGTEXT)/.test(type);
  const charset = isText ? ` CHARACTER SET ${found.charset} COLLATE ${found.collation}` : '';
  const comment = found.comment === '' ? '' : ` COMMENT ${mysqlText(found.comment)}`;
  const text = `ALTER TABLE ${table.quoted} MODIFY COLUMN ${column.quoted} ${type}${charset} ${found.nullable ? 'NULL' : 'NOT NULL'}${comment}`;
  return { column, statement: { text, values: [] }, from: found.type, to: type };
}

const withCharset = (type: string): string => `${type} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`;

const asFound = (found: FoundColumn): string =>
  found.charset === null || found.collation === null
    ? found.type
    : `${found.type} CHARACTER SET ${found.charset} COLLATE ${found.collation}`;

/** Columns of ours and keys are never added silently: a table without them was not made for lake, and has other rows. */
function missingColumn(column: SqlColumn, found: FoundTable): Problem {
  const text = `column ${column.name} is missing`;
  if (column.holds.kind !== 'id') return { text, clause: `ADD COLUMN ${column.quoted} ${addedDefinition(column)}` };
  const counter = found.columns.find(({ autoIncrement }) => autoIncrement);
  if (counter) return { text, clause: `CHANGE COLUMN ${mysqlName(counter.name)} ${column.quoted} ${column.definition}` };
  return { text, clause: `ADD COLUMN ${column.quoted} ${column.definition} FIRST` };
}

/** Columns that the feed does not know: lake writes no value there, so the server must have one. */
function checkOthers(table: SqlTable, found: FoundTable): Problem[] {
  const idMissing = !found.columns.some(({ name }) => same(name, idOf(table)));
  return found.columns
    .filter(({ name }) => !table.columns.some((column) => same(column.name, name)))
    .filter((other) => !other.nullable && !other.hasDefault && !other.generated && !(other.autoIncrement && idMissing))
    .map((other) => {
      const comment = other.comment === '' ? '' : ` COMMENT ${mysqlText(other.comment)}`;
      const clause = `MODIFY COLUMN ${mysqlName(other.name)} ${asFound(other)} NULL${comment}`;
      return { text: `column ${other.name} is NOT NULL without a default, and is no field of the feed`, clause };
    });
}

const idOf = (table: SqlTable): string => table.columns.find(({ holds }) => holds.kind === 'id')?.name ?? 'id';

function checkIndexes(table: SqlTable, found: FoundTable): Problem[] {
  const id = idOf(table);
  const renamed = renamedCounter(found, id);
  // A key that has the id in it never meets another row.
  const unique = found.indexes.filter((index) => index.unique);
  const needed = table.indexes.filter((index) => index.kind === 'unique');
  const problems: Problem[] = unique
    .filter((index) => !index.parts.some(({ column }) => same(column, id) || same(column, renamed ?? id)))
    .filter((index) => !needed.some((other) => isOn(index, other.parts)))
    .map((index) => furtherKey(index, found));
  if (!unique.some(({ name, parts }) => name === 'PRIMARY' && same(parts[0]?.column ?? '', id)) && renamed === null) {
    problems.push({ text: `${id} is not the primary key`, clause: `ADD PRIMARY KEY (${mysqlName(id)})` });
  }
  for (const index of needed) {
    if (unique.some((other) => isOn(other, index.parts))) continue;
    const columns = index.parts.map(({ name }) => name).join(', ');
    problems.push({
      text: `no unique key is on (${columns})`,
      clause: `ADD ${indexDefinition({ ...index, name: freeName(index.name, found) })}`,
    });
  }
  return problems;
}

/** The counter that is the primary key now and becomes the id, which is missing, by a new name. */
function renamedCounter(found: FoundTable, id: string): string | null {
  if (found.columns.some(({ name }) => same(name, id))) return null;
  const counter = found.columns.find(({ autoIncrement }) => autoIncrement)?.name ?? null;
  const primary = found.indexes.find(({ name }) => name === 'PRIMARY');
  return counter !== null && primary?.parts.length === 1 && same(primary.parts[0]?.column ?? '', counter) ? counter : null;
}

const freeName = (name: string, found: FoundTable): string =>
  found.indexes.some((index) => same(index.name, name)) ? `${name}_lake` : name;

/** The same whole columns, in any order. */
const isOn = (index: FoundIndex, columns: readonly { readonly name: string }[]): boolean =>
  index.parts.length === columns.length &&
  index.parts.every(({ column, length }) => length === null && columns.some(({ name }) => same(name, column)));

/** An upsert that meets it would change a row of another key. It stays as an index, for the queries that use it. */
function furtherKey(index: FoundIndex, found: FoundTable): Problem {
  const columns = index.parts.map(({ column }) => column || 'an expression');
  const folding = found.columns.find(({ name, collation }) => columns.includes(name) && collation?.endsWith('_ci'));
  const what = index.name === 'PRIMARY' ? 'the primary key' : `the unique key ${index.name}`;
  const why = folding
    ? `compares ${folding.name} by ${folding.collation}, to which 'user1', 'USER1' and 'usér1' are one`
    : 'would make an upsert change another row';
  const text = `${what} on (${columns.join(', ')}) ${why}`;
  if (index.name === 'PRIMARY') return { text, clause: 'DROP PRIMARY KEY' };
  if (index.parts.some(({ column }) => column === '')) return { text, clause: `DROP INDEX ${mysqlName(index.name)}` };
  const parts = index.parts.map(({ column, length }) => `${mysqlName(column)}${length === null ? '' : `(${length})`}`).join(', ');
  const name = mysqlName(index.name);
  return { text, clause: `DROP INDEX ${name}, ADD INDEX ${name} (${parts})` };
}

type Differs = TableVerdict & { readonly kind: 'differs' };

/** All that has to be changed in all tables of the feed, as one error. */
export function tablesDiffer(verdicts: readonly Differs[], feed: string): LakeError {
  const problems = verdicts.flatMap(({ table, problems }) => problems.map((text) => `table ${table}: ${text}`));
  const alters = verdicts.map(({ alter, table }) => alter ?? `name another table than ${table} in feeds.json`);
  const count = problems.length === 1 ? '' : `${problems.length} differences from what feed ${feed} needs:\n`;
  return new LakeError('warehouse_table_differs', `${count}${problems.join('\n')}`, {
    where: { feed, target: 'warehouse' },
    todo: `run this, then start again:\n${alters.join('\n')}`,
  });
}
