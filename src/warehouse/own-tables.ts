// lake's own tables, out of sql/01…04, which are embedded in the binary. sql/05 shows the dimensions of the feeds that come with
// lake: those are made from the feeds. Pure.
// Invariant: a statement of these files needs no parameters and has its comments taken out.

import databaseText from '../../sql/01_database.sql' with { type: 'text' };
import governanceText from '../../sql/02_governance.sql' with { type: 'text' };
import positionsText from '../../sql/03_positions.sql' with { type: 'text' };
import snapshotsText from '../../sql/04_snapshots.sql' with { type: 'text' };
import { assert } from '../errors.ts';
import { mysqlName } from './mysql-types.ts';
import type { Statement } from './warehouse.ts';

export type OwnTable = {
  readonly name: string;
  /** Fails with 1050 when it is there: whoever made it then knows. */
  readonly create: Statement;
  readonly columns: readonly { readonly name: string; readonly add: Statement }[];
};

export const sqlStatements = (text: string): string[] =>
  text
    .replaceAll(/^\s*--.*$/gm, '')
    .split(/;\s*(?:\n|$)/)
    .map((part) => part.trim())
    .filter((part) => part !== '');

const statement = (text: string): Statement => ({ text, values: [] });

function ownTable(text: string): OwnTable {
  const [head = '', ...lines] = text.split('\n');
  const name = /^CREATE TABLE IF NOT EXISTS (\w+) \($/.exec(head)?.[1];
  assert(name, `a statement of sql/ is no CREATE TABLE of the form that is read: ${head}`);
  const columns = lines.flatMap((line) => {
    // A table of the user's own has another counter.
    if (/AUTO_INCREMENT|nextval/.test(line)) return [];
    const column = /^ {2}([a-z_]+) (.+?),?$/.exec(line);
    const [, columnName = '', definition = ''] = column ?? [];
    return column ? [{ name: columnName, add: statement(`ALTER TABLE ${name} ADD COLUMN ${columnName} ${definition}`) }] : [];
  });
  return { name, create: statement(text.replace('CREATE TABLE IF NOT EXISTS', 'CREATE TABLE')), columns };
}

export const ownTables = (text: string): OwnTable[] =>
  sqlStatements(text)
    .filter((part) => part.startsWith('CREATE TABLE'))
    .map(ownTable);

export const IDENTITY_TABLES: readonly OwnTable[] = ownTables(databaseText);
export const OTHER_TABLES: readonly OwnTable[] = [governanceText, positionsText, snapshotsText].flatMap(ownTables);

/** For whoever connects without a database first. */
export function createDatabase(name: string): Statement {
  const text = sqlStatements(databaseText).find((part) => part.startsWith('CREATE DATABASE'));
  assert(text, 'sql/01_database.sql makes no database');
  return statement(text.replace('data_warehouse', mysqlName(name)));
}
