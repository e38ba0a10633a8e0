// What scripts/bench is asked for. Sizes and codecs name the topics; the defaults are the figures of docs/performance.md.

import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root, ScriptError } from '../common.ts';

export const CODECS = ['uncompressed', 'snappy', 'zstd'] as const;
export const SIZES = [150, 1000] as const;
export const CONTENDERS = ['drain', 'duckdb', 'lake', 'rival'] as const;

export type Codec = (typeof CODECS)[number];
export type Contender = (typeof CONTENDERS)[number];

/** One measured topic: all of a size hold the same messages. */
export type BenchTopic = { readonly name: string; readonly codec: Codec; readonly size: number; readonly messages: number };

export type BenchOptions = {
  readonly topics: readonly BenchTopic[];
  readonly contenders: readonly Contender[];
  readonly rounds: number;
  /** Into MySQL instead of the lake: seconds of each latency measurement; null: the lake. */
  readonly warehouseSeconds: number | null;
  /** `lake verify` over lakes of 100, 1,000 and 10,000 files, instead of all else. */
  readonly verify: boolean;
  /** `lake compact` over so many days of 2,880 files, instead of all else; null: not. */
  readonly compactDays: number | null;
  /** A folder for every run's memory samples and log, or null. */
  readonly traceFolder: string | null;
  /** The binary to measure. */
  readonly lakePath: string;
  /** Flags for lake itself, for trying other settings than the shipped defaults. */
  readonly lakeFlags: readonly string[];
};

export const usage = `usage: scripts/bench [--messages N] [--large-messages N] [--sizes 150,1000] [--codecs uncompressed,snappy,zstd]
                     [--only drain,duckdb,lake,rival] [--rounds N] [--trace FOLDER]
                     [--lake PATH] [--lake-flags "--x y"]
       scripts/bench --warehouse [--seconds N] [--rounds N] [--lake PATH]
       scripts/bench --verify
       scripts/bench --compact [--days N]
  --messages        messages of about 150 B in each topic (default 1000000)
  --large-messages  messages of about 1 KB in each topic (default: as --messages)
  --rounds          runs of each contender on each topic, interleaved; medians are printed (default 3)
  --trace           keeps each run's memory samples (one every 50 ms) and log lines there
  --lake            the binary to measure (default dist/lake), --lake-flags more flags for it
  --warehouse       a changelog of 200,000 messages over 50,000 keys into a MySQL of its own, beside the same final rows sent from
                    memory, and the time from produce to SELECT at 1,000 and 5,000 messages/s, --seconds each (default 60)
  --verify          how the time of lake verify grows with a lake of 100, 1,000 and 10,000 files; needs no broker
  --compact         lake compact over --days (default 30) of 2,880 small files each; needs no broker
  The broker is one of its own under .services/bench (kept, so that a second run need not produce again), or the one that
  KAFKA_BOOTSTRAP_SERVERS names.`;

export function readOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      messages: { type: 'string', default: '1000000' },
      'large-messages': { type: 'string' },
      sizes: { type: 'string', default: SIZES.join(',') },
      codecs: { type: 'string', default: CODECS.join(',') },
      only: { type: 'string', default: CONTENDERS.join(',') },
      rounds: { type: 'string', default: '3' },
      warehouse: { type: 'boolean', default: false },
      verify: { type: 'boolean', default: false },
      compact: { type: 'boolean', default: false },
      days: { type: 'string', default: '30' },
      seconds: { type: 'string', default: '60' },
      trace: { type: 'string' },
      lake: { type: 'string', default: join(root, 'dist/lake') },
      'lake-flags': { type: 'string', default: '' },
    },
  });
  const messages = count(values.messages, '--messages');
  const large = count(values['large-messages'] ?? values.messages, '--large-messages');
  const sizes = chosen(values.sizes, SIZES.map(String), '--sizes').map(Number);
  const codecs = CODECS.filter((codec) => chosen(values.codecs, CODECS, '--codecs').includes(codec));
  return {
    topics: sizes.flatMap((size) =>
      codecs.map((codec) => ({ name: topicName(codec, size), codec, size, messages: size < 500 ? messages : large })),
    ),
    contenders: CONTENDERS.filter((contender) => chosen(values.only, CONTENDERS, '--only').includes(contender)),
    rounds: count(values.rounds, '--rounds'),
    warehouseSeconds: values.warehouse ? count(values.seconds, '--seconds') : null,
    verify: values.verify,
    compactDays: values.compact ? count(values.days, '--days') : null,
    traceFolder: values.trace ?? null,
    lakePath: resolve(values.lake),
    lakeFlags: values['lake-flags'].split(/\s+/).filter((flag) => flag !== ''),
  };
}

const topicName = (codec: Codec, size: number): string => `bench_${codec}_${size}`;

function count(text: string, flag: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new ScriptError(`${flag} is a count of 1 or more, not ${text}\n${usage}`);
  return value;
}

function chosen(text: string, from: readonly string[], flag: string): string[] {
  const names = text.split(',');
  const unknown = names.find((name) => !from.includes(name));
  if (unknown !== undefined) throw new ScriptError(`${flag} takes ${from.join(', ')}, not ${unknown}\n${usage}`);
  return names;
}
