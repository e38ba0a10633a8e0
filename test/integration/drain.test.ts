// The main job on real Kafka: what is in the topics is in the lake, once, with its bytes.

import { describe, expect, test } from 'bun:test';
import { expectExactlyOnce } from '../helpers/expect-exactly-once.ts';
import { drain, streamFeed, writeSetup } from '../helpers/ingest.ts';
import { messages, record } from '../helpers/produced.ts';
import { tempDir, testKafka } from '../helpers/services.ts';

describe('lake ingest --until-caught-up', () => {
  test('takes several feeds with several partitions, and a second run takes nothing twice', async () => {
    await using folder = await tempDir();
    const kafka = await testKafka();
    const topics = [await kafka.createTopic({ partitions: 3 }), await kafka.createTopic()];
    const feeds = topics.map((topic, index) => streamFeed(`feed_${index}`, topic));
    const setup = writeSetup({ folder: folder.path, kafka, feeds });
    for (const [index, topic] of topics.entries()) {
      await using sent = await record(kafka, topic);
      await sent.send(messages(0, 3_000, (id) => ({ partition: index === 0 ? id % 3 : 0 })));
      await sent.send([
        { key: 'gone', value: null, timestampMs: 1 },
        { key: 'wrong', value: 'no json', timestampMs: 1_738_108_800_000 },
      ]);
      await drain(setup);
      await expectExactlyOnce(sent.messages, setup.lakePath, `feed_${index}`, { kafka, topic });
      const again = await drain(setup);
      expect(again.stderr).not.toContain('batch_committed');
      const { state } = await expectExactlyOnce(sent.messages, setup.lakePath, `feed_${index}`, { kafka, topic });
      const positions = [...state.positions].sort(([a], [b]) => a - b).map(([, { position }]) => position);
      expect(await kafka.groupOffsets(setup.groupId, topic)).toEqual(positions);
    }
  });
});
