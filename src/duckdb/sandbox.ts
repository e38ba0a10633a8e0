// SQL of a person, run on files that it may read and nothing else. Invariant: of a locked database no statement reads another file,
// reaches the network or changes a setting; and none is run that could write one of the files that it may read.

import { LakeError } from '../errors.ts';
import { type Connection, run } from './connection.ts';
import { quoteText } from './sql.ts';
import { type Prepared, prepareAll } from './statement.ts';

/** From here on DuckDB opens these paths alone; there is no way back. Throws engine_failed. */
export async function lockDown(connection: Connection, paths: readonly string[]): Promise<void> {
  await run(connection, `SET allowed_paths = [${paths.map(quoteText).join(', ')}]`);
  await run(connection, 'SET autoload_known_extensions = false');
  await run(connection, 'SET allow_persistent_secrets = false');
  await run(connection, 'SET enable_external_access = false');
  await run(connection, 'SET lock_configuration = true');
}

/**
 * Prepares the statement whose result is wanted, having run those before it. `isLocked`: only what reads, and CREATE in memory
 * before it, is taken. COPY must be kept out by its kind: a path that may be read may be written too. Throws sql_refused.
 */
export async function prepareRead(
  connection: Connection,
  sql: string,
  { isLocked }: { readonly isLocked: boolean },
): Promise<Prepared> {
  const statements = await prepareAll(connection, sql);
  if (statements.count === 0) throw new LakeError('sql_refused', 'there is no SQL to run');
  for (let index = 0; index < statements.count - 1; index++) {
    const before = await statements.prepare(index);
    if (isLocked && before.kind !== 'CREATE') throw refused(before.kind);
    await before.run();
  }
  const last = await statements.prepare(statements.count - 1);
  if (isLocked && last.kind !== 'SELECT') await checkExplained(connection, last.kind, statements.count === 1 ? sql : '');
  return last;
}

/** EXPLAIN ANALYZE runs what it explains, a COPY too. */
async function checkExplained(connection: Connection, kind: string, sql: string): Promise<void> {
  const explained = EXPLAIN.exec(sql)?.[1];
  if (kind !== 'EXPLAIN' || explained === undefined) throw refused(kind);
  const inner = await prepareAll(connection, explained);
  const first = inner.count === 1 ? await inner.prepare(0) : null;
  if (first?.kind !== 'SELECT') throw refused(first?.kind ?? kind);
  first.close();
}

/** White space and comments, EXPLAIN with what may follow it, the statement. */
const EXPLAIN = /^(?:\s|--[^\n]*\n|\/\*[\s\S]*?\*\/)*EXPLAIN(?:\s+ANALY[SZ]E\b|\s*\([^)]*\))?([\s\S]+)$/i;

const refused = (kind: string): LakeError =>
  new LakeError('sql_refused', `lake query only reads: ${kind} is not among what it runs`, {
    todo: 'ask with SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE, EXPLAIN); what may write files or reach the network needs --unsafe',
  });
