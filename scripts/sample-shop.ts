// A made-up shop: its products, its customers, and one week of their transactions. Pure and repeatable.
// Invariant: money is an integer number of cents everywhere; cents / 100 has an exact two-digit JSON text.

import { type Random, randomFrom } from './sample-random.ts';

const seed = 20_261_109;
/** Fixed dates, so that every machine has the same samples; Kafka keeps them because the topics never expire. */
export const firstDayMs = Date.UTC(2026, 10, 9);
export const dayCount = 7;
export const dayMs = 86_400_000;
const transactionCount = 20_000;
const userCount = 3_000;

export type Product = { id: string; name: string; category: string; priceCents: number };
export type Line = { product: Product; quantity: number };
export type Transaction = {
  id: string;
  userId: string;
  currency: string;
  atMs: number;
  amountCents: number;
  method: string;
  provider: string;
  cardLast4: string | null;
  /** Why it was refused; null for an accepted one. */
  refusedBecause: string | null;
  lines: Line[];
};

const categories = ['books', 'garden', 'kitchen', 'music', 'sports', 'toys'] as const;
const adjectives = ['Blue', 'Bright', 'Compact', 'Gentle', 'Große', 'Naïve', 'Quiet', 'Rapid', 'Solid', 'Tiny'] as const;
const nouns = ['Atlas', 'Basket', 'Drum', 'Kettle', 'Lamp', 'Racket'] as const;
const methods = [
  ['credit_card', 'visa'],
  ['credit_card', 'mastercard'],
  ['debit_card', 'maestro'],
  ['paypal', 'paypal'],
  ['bank_transfer', 'sepa'],
  ['apple_pay', 'apple'],
  ['invoice', 'klarna'],
] as const;
const reasons = ['stolen_card', 'velocity_check', 'sanctions_list'] as const;

const padded = (number: number, width: number): string => String(number).padStart(width, '0');
export const userName = (index: number): string => `user_${padded(index, 5)}`;

function makeProducts(random: Random): Product[] {
  return adjectives.flatMap((adjective, a) =>
    nouns.map((noun, n) => ({
      id: `product_${padded(a * nouns.length + n + 1, 3)}`,
      name: `${adjective} ${noun}`,
      category: categories[n] ?? 'books',
      priceCents: 99 + random.below(20_000),
    })),
  );
}

function makeTransaction(random: Random, products: readonly Product[], index: number): Transaction {
  const lines: Line[] = [];
  const lineCount = 1 + random.skewedBelow(5);
  while (lines.length < lineCount) {
    const product = products[random.skewedBelow(products.length)];
    if (product !== undefined && lines.every((line) => line.product !== product)) {
      lines.push({ product, quantity: 1 + random.skewedBelow(4) });
    }
  }
  const [method, provider] = random.pick(methods);
  // In order of time, with a little jitter within the second.
  const stepMs = Math.floor((dayCount * dayMs) / transactionCount);
  return {
    id: `tx_${padded(index + 1, 6)}`,
    userId: userName(random.skewedBelow(userCount) + 1),
    currency: random.pick(['EUR', 'EUR', 'EUR', 'USD', 'GBP']),
    atMs: firstDayMs + index * stepMs + random.below(1000),
    amountCents: lines.reduce((sum, { product, quantity }) => sum + product.priceCents * quantity, 0),
    method,
    provider,
    cardLast4: method.endsWith('_card') ? padded(random.below(10_000), 4) : null,
    refusedBecause: random.below(100) === 0 ? random.pick(reasons) : null,
    lines,
  };
}

export function makeTransactions(): Transaction[] {
  const random = randomFrom(seed);
  const products = makeProducts(random);
  return Array.from({ length: transactionCount }, (_, index) => makeTransaction(random, products, index));
}

export type CustomerEvent = { customerId: string; event: string; atMs: number };

export function makeCustomerEvents(): CustomerEvent[] {
  const random = randomFrom(seed + 1);
  const stepMs = Math.floor((dayCount * dayMs) / transactionCount);
  return Array.from({ length: transactionCount }, (_, index) => ({
    customerId: userName(random.skewedBelow(userCount) + 1),
    event: random.pick(['page_view', 'page_view', 'page_view', 'search', 'add_to_cart', 'checkout', 'login', 'logout']),
    atMs: firstDayMs + index * stepMs + random.below(stepMs),
  }));
}
