// What producers compress with: gzip and zstd come with the runtime, snappy from hysnappy, LZ4 frames are read in lz4.ts.
// Bounded: a batch may not unfold to more than `UNFOLDED_BYTES_MAX` (a hostile one could claim gigabytes).

import zlib from 'node:zlib';
import { snappyUncompressor } from 'hysnappy';
import { LakeError } from '../errors.ts';
import { decompressLz4Frame } from './lz4.ts';

/** Kafka's own ceiling for a batch is message.max.bytes before compression by the broker; 1 GiB leaves room for every sane setting. */
const UNFOLDED_BYTES_MAX = 1024 * 1024 * 1024;
const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;

let snappyBlock: ReturnType<typeof snappyUncompressor> | null = null;

/** `codec` is the low three bits of a record batch's attributes (1 gzip, 2 snappy, 3 lz4, 4 zstd). */
export function decompress(codec: number, bytes: Buffer): Buffer {
  try {
    switch (codec) {
      case 1:
        return zlib.gunzipSync(bytes, { maxOutputLength: UNFOLDED_BYTES_MAX });
      case 2:
        return decompressSnappy(bytes);
      case 3:
        return decompressLz4Frame(bytes, UNFOLDED_BYTES_MAX);
      case 4:
        return zlib.zstdDecompressSync(bytes, { maxOutputLength: UNFOLDED_BYTES_MAX });
    }
  } catch (cause) {
    throw new LakeError('message_format', `a batch compressed with codec ${codec} cannot be unfolded`, { cause });
  }
  throw new LakeError('message_format', `a batch is compressed with codec ${codec}, which Kafka does not define`);
}

/** Java clients frame snappy blocks the xerial way, librdkafka sends one bare block. */
function decompressSnappy(bytes: Buffer): Buffer {
  if (!bytes.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) return unfoldBlock(bytes);
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at + 4 <= bytes.length; ) {
    const size = bytes.readUInt32BE(at);
    blocks.push(unfoldBlock(bytes.subarray(at + 4, at + 4 + size)));
    at += 4 + size;
  }
  return blocks.length === 1 && blocks[0] ? blocks[0] : Buffer.concat(blocks);
}

function unfoldBlock(block: Buffer): Buffer {
  let size = 0;
  for (let at = 0, shift = 0; at < 5; at++, shift += 7) {
    const byte = block[at] ?? 0;
    size += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) break;
  }
  if (size > UNFOLDED_BYTES_MAX) throw new LakeError('message_format', `a snappy block claims ${size} bytes`);
  snappyBlock ??= snappyUncompressor();
  const unfolded = snappyBlock(block, size);
  return Buffer.from(unfolded.buffer, unfolded.byteOffset, unfolded.byteLength);
}
