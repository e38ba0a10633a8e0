// Who may read a feed's tables in MySQL (`permissions.mysql_readers`): GRANT SELECT on the fact table, its view and its dimensions,
// recorded in feed_permissions. Invariant: nobody is made, and nothing but SELECT is granted; nothing is taken away.

import { LakeError } from '../errors.ts';
import type { Feed } from '../model/feed.ts';
import { type AuditEntry, auditStatement } from './audit.ts';
import { transactionAgain } from './explain.ts';
import type { FactTable } from './fact-table.ts';
import { mysqlText } from './mysql-types.ts';
import { lockSetup } from './setup.ts';
import { type Warehouse, WarehouseFailure } from './warehouse.ts';

/** As feed_permissions names them. */
export type Grantee = { readonly grantee: string; readonly permission: string };

/** `analyst` is `analyst`@`%`. */
const accountOf = (reader: string): { readonly user: string; readonly host: string } => {
  const plain = reader.replaceAll("'", '');
  const at = plain.lastIndexOf('@');
  return at < 0 ? { user: plain, host: '%' } : { user: plain.slice(0, at), host: plain.slice(at + 1) };
};

export const granteesOf = ({ permissions }: Feed): readonly Grantee[] => [
  ...permissions.mysqlReaders.map((reader) => {
    const { user, host } = accountOf(reader);
    return { grantee: `${user}@${host}`, permission: 'read' };
  }),
  ...(permissions.lakeGroup === null ? [] : [{ grantee: `group ${permissions.lakeGroup}`, permission: 'read' }]),
];

/** Unknown users: MySQL (1410), MariaDB (1133). */
const NOBODY = [1410, 1133];

/** Throws warehouse_refused with the GRANT that an administrator can run, or with the user that is not there. */
export async function grantReaders(warehouse: Warehouse, feed: Feed, fact: FactTable, signal: AbortSignal): Promise<void> {
  if (warehouse.engine === 'duckdb') return;
  const names = [fact.quoted, ...(fact.latest ? [fact.latest.quoted] : []), ...fact.dimensions.map(({ quoted }) => quoted)];
  for (const reader of feed.permissions.mysqlReaders) {
    const { user, host } = accountOf(reader);
    const account = `${mysqlText(user)}@${mysqlText(host)}`;
    for (const name of names) {
      const grant = `GRANT SELECT ON ${name} TO ${account}`;
      // MariaDB would make a user without a password.
      const text = warehouse.engine === 'mariadb' ? `SET STATEMENT sql_mode = 'NO_AUTO_CREATE_USER' FOR ${grant}` : grant;
      try {
        await warehouse.run({ text, values: [] }, signal);
      } catch (error) {
        throw error instanceof WarehouseFailure ? notGranted(error, { feed, reader, account, grant }) : error;
      }
    }
  }
}

type Failed = { readonly feed: Feed; readonly reader: string; readonly account: string; readonly grant: string };

function notGranted(failure: WarehouseFailure, { feed, reader, account, grant }: Failed): Error {
  const where = { feed: feed.name, target: 'warehouse' };
  if (failure.number !== null && NOBODY.includes(failure.number)) {
    return new LakeError('warehouse_refused', `permissions.mysql_readers: ${reader} is no user of the database server`, {
      where,
      todo: `make it:  CREATE USER ${account} IDENTIFIED BY '…';  or correct feeds.json`,
      cause: failure,
    });
  }
  if (failure.class !== 'denied') return failure;
  return new LakeError('warehouse_refused', `permissions.mysql_readers: lake may not grant to ${reader}: ${failure.message}`, {
    where,
    todo: `have an administrator run:  ${grant};  or give lake's own user WITH GRANT OPTION`,
    cause: failure,
  });
}

/** Readers without SELECT on the fact table, as far as this user may see what others have. */
export async function lostGrants(
  warehouse: Warehouse,
  feed: Feed,
  fact: FactTable,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (warehouse.engine === 'duckdb') return [];
  const of = async (table: string, where: string): Promise<readonly string[]> => {
    const text = `SELECT DISTINCT grantee AS grantee FROM information_schema.${table} WHERE privilege_type = 'SELECT'${where}`;
    const values = where.includes('?') ? [fact.name] : [];
    return (await warehouse.run({ text, values }, signal)).map((row) => String(row['grantee']));
  };
  const here = ' AND table_schema = DATABASE()';
  const all = [
    ...(await of('table_privileges', `${here} AND table_name = ?`)),
    ...(await of('schema_privileges', here)),
    ...(await of('user_privileges', '')),
  ];
  // Who sees nobody else's rights sees no loss.
  const [me] = await warehouse.run({ text: 'SELECT CURRENT_USER() AS account', values: [] }, signal);
  const others = new Set(all.map((grantee) => grantee.replaceAll("'", '')).filter((one) => one !== String(me?.['account'])));
  if (others.size === 0) return [];
  return feed.permissions.mysqlReaders
    .map((reader) => accountOf(reader))
    .map(({ user, host }) => `${user}@${host}`)
    .filter((account) => !all.some((grantee) => grantee.replaceAll("'", '') === account));
}

/** Those that feed_permissions does not have yet, of all feeds. */
export async function missingGrantees(warehouse: Warehouse, feeds: readonly Feed[], signal: AbortSignal) {
  const rows = await warehouse.run({ text: 'SELECT feed_name, grantee, permission FROM feed_permissions', values: [] }, signal);
  const known = new Set(rows.map((row) => JSON.stringify([row['feed_name'], row['grantee'], row['permission']])));
  return feeds.flatMap((feed) =>
    granteesOf(feed)
      .filter(({ grantee, permission }) => !known.has(JSON.stringify([feed.name, grantee, permission])))
      .map((one) => ({ feed, ...one })),
  );
}

/** What was recorded, audited. */
export function recordGrantees(
  warehouse: Warehouse,
  feeds: readonly Feed[],
  signal: AbortSignal,
): Promise<readonly AuditEntry[]> {
  const { dialect } = warehouse;
  return transactionAgain(
    warehouse,
    async (tx) => {
      await lockSetup(tx, dialect);
      const rows = await tx.rows({ text: 'SELECT feed_name, grantee, permission FROM feed_permissions', values: [] });
      const known = new Set(rows.map((row) => JSON.stringify([row['feed_name'], row['grantee'], row['permission']])));
      const done: AuditEntry[] = [];
      for (const feed of feeds) {
        for (const { grantee, permission } of granteesOf(feed)) {
          if (known.has(JSON.stringify([feed.name, grantee, permission]))) continue;
          const text = 'INSERT INTO feed_permissions (feed_name, grantee, permission, granted_by) VALUES (?, ?, ?, ?)';
          await tx.change({ text, values: [feed.name, grantee, permission, feed.createdBy] });
          const entry: AuditEntry = {
            ...{ action: 'permission_granted', feed: feed.name, resource: grantee, details: { permission } },
            performedBy: feed.createdBy,
          };
          await tx.change(auditStatement(dialect, entry));
          done.push(entry);
        }
      }
      return done;
    },
    signal,
  );
}
