// The timestamps of Kafka messages that a column can hold: milliseconds since 1970, in the years 1 to 9999.

import { MICROS_MAX, MICROS_MIN } from './convert-time.ts';

/** Numbers, for they are compared with every message's. */
export const KAFKA_MS_MIN = Number(MICROS_MIN / 1000n);
export const KAFKA_MS_MAX = Number((MICROS_MAX - 999n) / 1000n);

export const isKafkaTime = (ms: bigint | number): boolean => ms >= KAFKA_MS_MIN && ms <= KAFKA_MS_MAX;
export const wrongTime = (ms: bigint): string => `the Kafka timestamp ${ms} ms lies outside the years 1 to 9999`;
