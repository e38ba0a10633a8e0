// Floor A, a process of its own: kafkajs alone reads a topic to its end and does nothing with it.
// Arguments: bootstrap, topic, messages. Prints one JSON line: ms from the assignment to the last message, and what was read.

import { randomUUID } from 'node:crypto';
import zlib from 'node:zlib';
import { snappyUncompressor } from 'hysnappy';
import kafkajs, { Kafka, logLevel } from 'kafkajs';

const [bootstrap = '', topic = '', count = '0'] = process.argv.slice(2);
process.removeAllListeners('warning');

const XERIAL_HEADER_BYTES = 16;
const unfold = snappyUncompressor();

function block(bytes: Buffer): Buffer {
  let [size, at, shift] = [0, 0, 0];
  for (let byte = 0x80; byte & 0x80; shift += 7) {
    byte = bytes[at++] ?? 0;
    size += (byte & 0x7f) * 2 ** shift;
  }
  const unfolded = unfold(bytes, size);
  return Buffer.from(unfolded.buffer, unfolded.byteOffset, unfolded.byteLength);
}

/** As the Java client and broker frame it. */
function xerial(bytes: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at + 4 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    blocks.push(block(bytes.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return Buffer.concat(blocks);
}

const readOnly = (decompress: (bytes: Buffer) => Buffer) => () => ({
  compress: () => Promise.reject(new Error('only reads')),
  decompress: async (bytes: Buffer) => decompress(bytes),
});
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.Snappy] = readOnly(xerial);
kafkajs.CompressionCodecs[kafkajs.CompressionTypes.ZSTD] = readOnly((bytes) => zlib.zstdDecompressSync(bytes));

const kafka = new Kafka({ brokers: bootstrap.split(','), clientId: 'bench-drain', logLevel: logLevel.NOTHING });
const consumer = kafka.consumer({ groupId: `bench.drain.${randomUUID()}` });
const done = Promise.withResolvers<void>();
let [startedMs, messages, bytes] = [0, 0, 0];
consumer.on(consumer.events.GROUP_JOIN, () => {
  startedMs = performance.now();
});
await consumer.connect();
await consumer.subscribe({ topic, fromBeginning: true });
await consumer.run({
  autoCommit: false,
  partitionsConsumedConcurrently: 3,
  eachBatch: async ({ batch }) => {
    for (const { value } of batch.messages) bytes += value?.length ?? 0;
    messages += batch.messages.length;
    if (messages >= Number(count)) done.resolve();
  },
});
await done.promise;
process.stdout.write(`${JSON.stringify({ ms: performance.now() - startedMs, messages, bytes })}\n`);
await consumer.disconnect();
