// Failures of a set-up as errors for a person: a missing grant becomes the GRANT to run. What passes by waiting is left as it
// is, for the caller to wait and begin again: every step of a set-up may be repeated.

import { LakeError } from '../errors.ts';
import { mysqlName, mysqlText } from './mysql-types.ts';
import { type FailureClass, type Tx, type Warehouse, WarehouseFailure, warehouseError } from './warehouse.ts';

/** What lake does in its database; DROP is for views made again and for what a rebuild leaves. */
const GRANTS = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW, SHOW VIEW';

/** A deadlock with another set-up; more in a row than this is none. */
const ATTEMPTS_MAX = 20;

/** A lock that was waited for in vain too: a long query holds a table against its ALTER. */
const PASSING: readonly FailureClass[] = ['wait', 'in_doubt', 'retry'];

type Context = { readonly warehouse: Warehouse; readonly subject: string; readonly signal: AbortSignal };

export async function explained<T>({ warehouse, subject, signal }: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof WarehouseFailure) || PASSING.includes(error.class)) throw error;
    if (error.class !== 'denied') throw warehouseError(error, subject);
    const todo = `have an administrator run:  ${await grantStatement(warehouse, signal)}`;
    const number = error.number === null ? '' : ` (${error.number})`;
    const message = `${subject}: a grant is missing: ${error.message}${number}`;
    throw new LakeError('warehouse_refused', message, { where: { target: 'warehouse' }, todo, cause: error });
  }
}

async function grantStatement(warehouse: Warehouse, signal: AbortSignal): Promise<string> {
  const query = { text: 'SELECT CURRENT_USER() AS account, DATABASE() AS name', values: [] };
  const [row] = await warehouse.run(query, signal);
  const account = String(row?.['account'] ?? '');
  const at = account.lastIndexOf('@');
  const user = `${mysqlText(account.slice(0, at))}@${mysqlText(account.slice(at + 1))}`;
  return `GRANT ${GRANTS} ON ${mysqlName(String(row?.['name'] ?? ''))}.* TO ${user};`;
}

/** A transaction that is done again after a deadlock. */
export async function transactionAgain<T>(warehouse: Warehouse, work: (tx: Tx) => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await warehouse.transaction(work, signal);
    } catch (error) {
      if (!(error instanceof WarehouseFailure) || error.class !== 'retry' || attempt === ATTEMPTS_MAX) throw error;
    }
  }
}
