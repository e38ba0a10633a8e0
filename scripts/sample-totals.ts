// What the four tables are of the transactions: the aggregations of sample-messages.ts said again in SQL, over the rows that
// the lake holds. Nothing of the changelogs is used, so that a table that agrees went the whole way unharmed.

import type { TableTotals } from './compare-totals.ts';
import { erasedAtMs, erasedUsers } from './sample-messages.ts';

/** A user who asked to be forgotten got a tombstone then, and started from nothing. */
const notErased = `not (user_id in (${erasedUsers.map((user) => `'${user}'`).join(', ')}) and epoch_ms("timestamp") < ${erasedAtMs})`;

const perTransaction = (key: string, amount: string, from: string): string =>
  `select ${key}, count(*) as transaction_count, sum(amount) as ${amount}, max("timestamp") as updated_at from ${from} group by all`;

export const tableTotals: readonly TableTotals[] = [
  {
    feed: 'user_transaction_summary',
    key: 'user_id',
    columns: ['transaction_count', 'total_amount', 'updated_at'],
    sums: ['transaction_count', 'total_amount'],
    select: (transactions) => perTransaction('user_id', 'total_amount', `${transactions} where ${notErased}`),
  },
  {
    feed: 'user_transaction_summary_eur',
    key: 'user_id',
    columns: ['transaction_count', 'total_amount_eur', 'updated_at'],
    sums: ['transaction_count', 'total_amount_eur'],
    select: (transactions) =>
      perTransaction('user_id', 'total_amount_eur', `${transactions} where currency = 'EUR' and ${notErased}`),
  },
  {
    feed: 'payment_method_totals',
    key: 'payment_method',
    columns: ['transaction_count', 'total_amount', 'updated_at'],
    sums: ['transaction_count', 'total_amount'],
    select: (transactions) => perTransaction('payment.method as payment_method', 'total_amount', transactions),
  },
  {
    feed: 'product_purchase_counts',
    key: 'product_id',
    columns: ['product_name', 'purchase_count', 'total_quantity', 'updated_at'],
    sums: ['purchase_count', 'total_quantity'],
    select: (transactions) =>
      `select product.product_id, max(product.name) as product_name, count(*) as purchase_count,
              sum(product.quantity) as total_quantity, max("timestamp") as updated_at
         from (select unnest(products) as product, "timestamp" from ${transactions}) group by all`,
  },
];
