// The messages of the nine sample topics, made from one and the same week of transactions (sample-shop.ts): the streams as
// the shop and ksqlDB write them, the tables as the changelogs that ksqlDB's aggregations would emit. Pure and repeatable.

import { createHash } from 'node:crypto';
import { dayMs, firstDayMs, makeCustomerEvents, makeTransactions, type Transaction, userName } from './sample-shop.ts';

/** A null value is a tombstone. */
export type SampleMessage = { readonly key: string; readonly value: string | null; readonly timestampMs: number };

type Totals = { count: number; cents: number };
type ProductTotals = { name: string; count: number; quantity: number };

export type Samples = {
  readonly topics: ReadonlyMap<string, { readonly table: boolean; readonly messages: readonly SampleMessage[] }>;
  /** What the tables hold in the end, to compare with; amounts as decimal text. */
  readonly expectedTotals: Record<string, Record<string, Record<string, string | number>>>;
  readonly erasedUsers: readonly string[];
};

/** Some customers ask to be forgotten: their rows get a tombstone then, and start from nothing if they buy again. */
export const erasedAtMs = firstDayMs + 5 * dayMs + dayMs / 2;
export const erasedUsers = [7, 19, 500, 1_111, 2_500, 2_990].map(userName);

/** Exact: a decimal of two digits is the shortest text of its own double far beyond these sums. */
const decimal = (cents: number): number => cents / 100;
export const decimalText = (cents: number): string => `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
const iso = (atMs: number): string => new Date(atMs).toISOString();

function message(key: string, timestampMs: number, value: Record<string, unknown>): SampleMessage {
  return { key, value: JSON.stringify(value), timestampMs };
}

function streamMessage(transaction: Transaction): SampleMessage {
  const { id, userId, currency, atMs, amountCents, method, provider, cardLast4, lines } = transaction;
  return message(userId, atMs, {
    transaction_id: id,
    user_id: userId,
    amount: decimal(amountCents),
    currency,
    timestamp: iso(atMs),
    payment: { method, provider, card_last4: cardLast4, status: transaction.refusedBecause === null ? 'accepted' : 'refused' },
    products: lines.map(({ product, quantity }) => ({
      product_id: product.id,
      name: product.name,
      category: product.category,
      quantity,
      price: decimal(product.priceCents),
    })),
  });
}

function flattenedMessages(transaction: Transaction): SampleMessage[] {
  return transaction.lines.map(({ product, quantity }) =>
    message(transaction.id, transaction.atMs, {
      TRANSACTION_ID: transaction.id,
      USER_ID: transaction.userId,
      AMOUNT: decimal(transaction.amountCents),
      CURRENCY: transaction.currency,
      TIMESTAMP: transaction.atMs,
      PAYMENT_METHOD: transaction.method,
      PAYMENT_PROVIDER: transaction.provider,
      PRODUCT_ID: product.id,
      PRODUCT_NAME: product.name,
      PRODUCT_CATEGORY: product.category,
      QUANTITY: quantity,
      PRICE: decimal(product.priceCents),
    }),
  );
}

function anonymizedMessage(transaction: Transaction): SampleMessage {
  const hash = createHash('sha256').update(`pepper/${transaction.userId}`).digest('hex');
  return message(hash, transaction.atMs, {
    transaction_id: transaction.id,
    user_hash: hash,
    amount: decimal(transaction.amountCents),
    currency: transaction.currency,
    timestamp: iso(transaction.atMs),
    payment: { method: transaction.method, provider: transaction.provider },
    products: transaction.lines.map(({ product, quantity }) => ({
      product_id: product.id,
      category: product.category,
      quantity,
      price: decimal(product.priceCents),
    })),
  });
}

function blacklistedMessage(transaction: Transaction): SampleMessage {
  return message(transaction.userId, transaction.atMs, {
    transaction_id: transaction.id,
    user_id: transaction.userId,
    amount: decimal(transaction.amountCents),
    currency: transaction.currency,
    timestamp: iso(transaction.atMs),
    payment: { method: transaction.method, card_last4: transaction.cardLast4 },
    reason: transaction.refusedBecause,
    blacklisted_at: iso(transaction.atMs + 1_500),
  });
}

type Changelog<T> = { readonly messages: SampleMessage[]; readonly state: Map<string, T> };

/** One message after each update of a key, as an aggregation emits them. */
function update<T>(log: Changelog<T>, key: string, atMs: number, next: T, row: Record<string, unknown>): void {
  log.state.set(key, next);
  log.messages.push(message(key, atMs, row));
}

function erase<T>(log: Changelog<T>, keys: readonly string[], atMs: number): void {
  for (const key of keys) if (log.state.delete(key)) log.messages.push({ key, value: null, timestampMs: atMs });
}

function changelogs(transactions: readonly Transaction[]) {
  const users: Changelog<Totals> = { messages: [], state: new Map() };
  const usersEur: Changelog<Totals> = { messages: [], state: new Map() };
  const methods: Changelog<Totals> = { messages: [], state: new Map() };
  const products: Changelog<ProductTotals> = { messages: [], state: new Map() };
  let erased = false;
  for (const { userId, method, currency, amountCents, atMs, lines } of transactions) {
    if (!erased && atMs >= erasedAtMs) {
      erase(users, erasedUsers, erasedAtMs);
      erase(usersEur, erasedUsers, erasedAtMs);
      erased = true;
    }
    const add = (old: Totals | undefined): Totals => ({ count: (old?.count ?? 0) + 1, cents: (old?.cents ?? 0) + amountCents });
    const user = add(users.state.get(userId));
    const summary = { user_id: userId, transaction_count: user.count, total_amount: decimal(user.cents), updated_at: iso(atMs) };
    update(users, userId, atMs, user, summary);
    if (currency === 'EUR') {
      const eur = add(usersEur.state.get(userId));
      const row = { TRANSACTION_COUNT: eur.count, TOTAL_AMOUNT_EUR: decimal(eur.cents), UPDATED_AT: atMs };
      update(usersEur, userId, atMs, eur, row);
    }
    const paid = add(methods.state.get(method));
    const totals = { TRANSACTION_COUNT: paid.count, TOTAL_AMOUNT: decimal(paid.cents), UPDATED_AT: atMs };
    update(methods, method, atMs, paid, totals);
    for (const { product, quantity } of lines) {
      const old = products.state.get(product.id);
      const sold = { name: product.name, count: (old?.count ?? 0) + 1, quantity: (old?.quantity ?? 0) + quantity };
      const row = { PRODUCT_NAME: sold.name, PURCHASE_COUNT: sold.count, TOTAL_QUANTITY: sold.quantity, UPDATED_AT: atMs };
      update(products, product.id, atMs, sold, row);
    }
  }
  return { users, usersEur, methods, products };
}

function expected<T>(state: Map<string, T>, row: (totals: T) => Record<string, string | number>) {
  const keys = [...state.entries()].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(keys.map(([key, totals]) => [key, row(totals)]));
}

export function makeSamples(): Samples {
  const transactions = makeTransactions();
  const { users, usersEur, methods, products } = changelogs(transactions);
  const events = makeCustomerEvents().map(({ customerId, event, atMs }) =>
    message(customerId, atMs, { customer_id: customerId, event, timestamp: iso(atMs) }),
  );
  const refused = transactions.filter(({ refusedBecause }) => refusedBecause !== null);
  const stream = (messages: SampleMessage[]) => ({ table: false, messages });
  const table = <T>({ messages }: Changelog<T>) => ({ table: true, messages });
  return {
    topics: new Map([
      ['transaction_stream', stream(transactions.map(streamMessage))],
      ['transaction_flattened', stream(transactions.flatMap(flattenedMessages))],
      ['transaction_stream_anonymized', stream(transactions.map(anonymizedMessage))],
      ['transaction_stream_blacklisted', stream(refused.map(blacklistedMessage))],
      ['customer_events', stream(events)],
      ['user_transaction_summary', table(users)],
      ['user_transaction_summary_eur', table(usersEur)],
      ['payment_method_totals', table(methods)],
      ['product_purchase_counts', table(products)],
    ]),
    expectedTotals: {
      user_transaction_summary: expected(users.state, ({ count, cents }) => ({
        transaction_count: count,
        total_amount: decimalText(cents),
      })),
      user_transaction_summary_eur: expected(usersEur.state, ({ count, cents }) => ({
        transaction_count: count,
        total_amount_eur: decimalText(cents),
      })),
      payment_method_totals: expected(methods.state, ({ count, cents }) => ({
        transaction_count: count,
        total_amount: decimalText(cents),
      })),
      product_purchase_counts: expected(products.state, ({ name, count, quantity }) => ({
        product_name: name,
        purchase_count: count,
        total_quantity: quantity,
      })),
    },
    erasedUsers,
  };
}
