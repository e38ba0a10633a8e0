// lake rewind on a stream in lake and warehouse: what lies beyond the points goes, to the row and the dead letter, and comes back once.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { runLake } from '../helpers/ingest.ts';
import { type RewindEngine, reportOf, rewindScene } from '../helpers/rewind-scene.ts';

setDefaultTimeout(300_000);

const POINTS = [21, 33] as const;
const TO = ['--to', '0:21,1:33'];

describe('a stream', () => {
  test.each<[RewindEngine]>([['mysql'], ['mariadb'], ['duckdb']])(
    'goes back in the lake and in %s, and is read again',
    async (engine) => {
      await using scene = await rewindScene({ engine });
      await scene.drain();
      // Files of rows of many ranges: they are looked into.
      expect((await runLake(scene.setup, ['compact', '--older-than', '0s'])).code).toBe(0);
      await scene.send(60);
      await scene.drain();
      const planned = reportOf(await scene.rewind([...TO, '--dry-run']));
      await scene.holdsAll();
      const done = await scene.rewind([...TO, '--yes']);
      expect(done.code).toBe(0);
      const report = reportOf(done);
      expect({ ...report, dry_run: true }).toEqual(planned);
      const partitions = POINTS.map((to, partition) => ({ partition, position: '90', to: String(to) }));
      const [lake, warehouse] = report.targets;
      expect([lake?.partitions, warehouse?.partitions]).toEqual([partitions, partitions]);
      expect([lake?.rows, lake?.dead_letters]).toEqual([warehouse?.rows, warehouse?.dead_letters]);
      expect(lake?.files_rewritten).toBeGreaterThan(0);
      await scene.holdsBefore(POINTS);
      await scene.verified('--deep');
      await scene.drain();
      await scene.holdsAll();
      await scene.verified('--deep');
      const { stdout } = await runLake(scene.setup, ['audit', '--json']);
      const told = (JSON.parse(stdout) as { target: string; action: string }[]).filter(({ action }) => action === 'feed_rewound');
      expect(told.map(({ target }) => target).sort()).toEqual(['lake', 'warehouse']);
    },
  );
});
