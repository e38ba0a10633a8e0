// Offsets: branded bigints; every range is half-open, [start, end). A position is the *next* offset a target needs.

declare const brand: unique symbol;
export type Offset = bigint & { readonly [brand]: 'offset' };

/** From Kafka's or JSON's decimal text, or a bigint. Throws a SyntaxError on anything else. */
export const toOffset = (value: bigint | string): Offset => BigInt(value) as Offset;

export type OffsetRange = { readonly start: Offset; readonly end: Offset };

/** Math.min and Math.max take no bigint. */
export const earlier = <T extends bigint>(a: T, b: T): T => (a < b ? a : b);
export const later = <T extends bigint>(a: T, b: T): T => (a > b ? a : b);
