// lake verify: every check over the chosen feeds, and once more over those that found something.
// Invariant: reads one log version and one moment of the warehouse at a time, and changes nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../duckdb/connection.ts';
import { LakeError } from '../errors.ts';
import { readFeedState } from '../lake/read-log.ts';
import type { Feed } from '../model/feed.ts';
import { liveFiles } from '../model/feed-state.ts';
import { type CheckResult, surviving } from '../model/findings.ts';
import type { Installation } from './installation.ts';
import { type Look, lookAtFeed } from './verify-look.ts';
import { createReach } from './verify-reach.ts';

export type FeedVerdict = Look & { readonly feed: string; readonly ok: boolean };

/** In bytes of the lake: what a deep look has read, of an estimate of all it will. */
export type Work = { readonly done: number; readonly total: number };

const MEMORY_BYTES_MAX = 256 * 1024 * 1024;

/** What is out of reach is told with the feed, and the others are looked at all the same. */
export async function verifyFeeds(
  installation: Installation,
  feeds: readonly Feed[],
  { deep, show }: { readonly deep: boolean; readonly show: (work: Work) => void },
): Promise<readonly FeedVerdict[]> {
  const folder = await mkdtemp(join(tmpdir(), 'lake-verify-'));
  try {
    await using database = await openDatabase({ memoryBytesMax: MEMORY_BYTES_MAX, tempFolder: join(folder, 'spill') });
    const connection = await database.connect();
    const reach = createReach();
    const meter = createMeter(show);
    for (const feed of deep ? feeds : []) meter.expect(await bytesToRead(installation, feed));
    const look = (feed: Feed) => lookAtFeed(installation, feed, { connection, deep, read: meter.read, reach: reach.ofFeed() });
    const verdicts: FeedVerdict[] = [];
    for (const feed of feeds) {
      const first = await look(feed);
      // A running ingest moves things between two reads: what is found again is so.
      const isWell = first.checks.every(isGood);
      if (!isWell) await installation.renew();
      if (!isWell && deep) meter.expect(await bytesToRead(installation, feed));
      const again = isWell ? first : await look(feed);
      const checks = again.checks.map((one) => surviving(first.checks, one));
      verdicts.push({ ...again, feed: feed.name, ok: again.failure === null && checks.every(isGood), checks });
    }
    return verdicts;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const isGood = ({ findings }: CheckResult): boolean => findings.length === 0;

function createMeter(show: (work: Work) => void) {
  let [done, total] = [0, 0];
  return {
    expect: (bytes: number): void => {
      total += bytes;
    },
    read: (bytes: number): void => {
      done += bytes;
      show({ done: Math.min(done, total), total });
    },
  };
}

/** Every file once, and the topic once for each target: that many bytes of messages became that many of files, more or less. */
async function bytesToRead(installation: Installation, feed: Feed): Promise<number> {
  try {
    const files = liveFiles(await readFeedState(await installation.lake(), feed.name));
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    return bytes * (feed.destination === 'both' && feed.type === 'stream' ? 3 : 2);
  } catch (error) {
    // Told by the check of the log.
    if (error instanceof LakeError && error.code !== 'bug') return 0;
    throw error;
  }
}
