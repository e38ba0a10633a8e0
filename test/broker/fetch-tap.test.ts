// The tap on a socket: fetch responses of a server, taken by their tickets.
import { expect, test } from 'bun:test';
import { createServer, type Socket } from 'node:net';
import { createFetchTap } from '../../src/broker/fetch-tap.ts';
import { order, recordSet } from '../ingest/stage-helpers.ts';

const VERSION = 4;
const numbers = (...values: readonly (readonly [bytes: 2 | 4 | 8, value: number])[]): Buffer =>
  Buffer.concat(
    values.map(([bytes, value]) => {
      const buffer = Buffer.alloc(bytes);
      if (bytes === 8) buffer.writeBigInt64BE(BigInt(value));
      else buffer.writeIntBE(value, 0, bytes);
      return buffer;
    }),
  );
const framed = (body: Buffer): Buffer => Buffer.concat([numbers([4, body.length]), body]);

/** The same records in each of these partitions of topic t. */
const responseOf = (correlationId: number, partitions: readonly number[], records: Buffer): Buffer =>
  framed(
    Buffer.concat([
      numbers([4, correlationId], [4, 0], [4, 1], [2, 1]),
      Buffer.from('t'),
      numbers([4, partitions.length]),
      ...partitions.flatMap((partition) => [
        numbers([4, partition], [2, 0], [8, 1], [8, 1], [4, 0], [4, records.length]),
        records,
      ]),
    ]),
  );

test('the record set that is taken last of its response says so, and whether its bytes still stand', async () => {
  const { records } = await recordSet([order(0)]);
  const listening = Promise.withResolvers<number>();
  const connected = Promise.withResolvers<Socket>();
  const server = createServer((socket) => connected.resolve(socket)).listen(0, '127.0.0.1', () => {
    const address = server.address();
    listening.resolve(typeof address === 'object' && address ? address.port : 0);
  });
  const tap = createFetchTap({ onOutOfRange: () => {}, onUnknownTopic: () => {} });
  const port = await listening.promise;
  const client = tap.socketFactory({ host: '127.0.0.1', port, ssl: undefined as never, onConnect: () => {} });
  let delivered = Promise.withResolvers<void>();
  client.on('data', () => delivered.resolve());
  const fetched = async (correlationId: number, partitions: readonly number[]): Promise<void> => {
    client.write(framed(numbers([2, 1], [2, VERSION], [4, correlationId], [2, -1])));
    (await connected.promise).write(responseOf(correlationId, partitions, records));
    await delivered.promise;
    delivered = Promise.withResolvers();
  };
  await fetched(1, [3, 5]);
  const first = tap.take(1n);
  expect([first?.partition, first?.isLast(), first?.isCurrent()]).toEqual([3, false, true]);
  const second = tap.take(2n);
  expect([second?.partition, second?.isLast(), second?.isCurrent()]).toEqual([5, true, true]);
  await fetched(2, [3, 5]);
  expect(second?.isCurrent()).toBe(false);
  expect(tap.take(4n)?.isLast()).toBe(false);
  client.destroy();
  server.close();
});
