// LZ4 frames, as Kafka's producers write them (spec: lz4_Frame_format.md 1.6.x, lz4_Block_format.md).
// Own code: the packages that read frames are native add-ons or no longer looked after (docs/decisions). Checksums of the
// frame are not verified: Kafka verifies its own over the whole batch when it accepts it.

import { LakeError } from '../errors.ts';

const FRAME_MAGIC = 0x184d2204;
const STORED = 0x80000000;

/** Unfolds one or more concatenated frames. Throws LakeError message_format on damage or beyond `bytesMax`. */
export function decompressLz4Frame(bytes: Buffer, bytesMax: number): Buffer {
  let out = Buffer.allocUnsafe(Math.min(bytesMax, Math.max(65536, bytes.length * 6)));
  let size = 0;
  let at = 0;
  const room = (more: number): void => {
    if (size + more > bytesMax) throw damaged(`it unfolds to more than ${bytesMax} bytes`);
    if (size + more <= out.length) return;
    const larger = Buffer.allocUnsafe(Math.min(bytesMax, Math.max(out.length * 2, size + more)));
    out.copy(larger, 0, 0, size);
    out = larger;
  };
  while (at + 7 <= bytes.length) {
    if (bytes.readUInt32LE(at) !== FRAME_MAGIC) throw damaged('no frame starts here');
    const flags = bytes[at + 4] ?? 0;
    const blockBytesMax = 1 << (8 + 2 * (((bytes[at + 5] ?? 0) >> 4) & 7));
    at += 7 + (flags & 0x08 ? 8 : 0) + (flags & 0x01 ? 4 : 0);
    for (;;) {
      const word = bytes.readUInt32LE(at);
      at += 4;
      if (word === 0) break;
      const blockBytes = word & ~STORED;
      if (at + blockBytes > bytes.length) throw damaged('a block is cut short');
      if (word & STORED) {
        room(blockBytes);
        bytes.copy(out, size, at, at + blockBytes);
        size += blockBytes;
      } else {
        room(Math.min(blockBytesMax, bytesMax - size));
        size = unfoldBlock(bytes, at, at + blockBytes, out, size);
      }
      at += blockBytes + (flags & 0x10 ? 4 : 0);
    }
    if (flags & 0x04) at += 4;
  }
  return out.subarray(0, size);
}

/** One block into `out` at `to`; returns the end. Matches may reach back into earlier blocks. */
function unfoldBlock(bytes: Buffer, start: number, end: number, out: Buffer, to: number): number {
  let at = start;
  let size = to;
  while (at < end) {
    const token = bytes[at++] ?? 0;
    let literals = token >> 4;
    if (literals === 15) {
      let more = 255;
      while (more === 255 && at < end) literals += more = bytes[at++] ?? 0;
    }
    if (at + literals > end || size + literals > out.length) throw damaged('literals run over the end');
    if (literals < 24) for (let index = 0; index < literals; index++) out[size + index] = bytes[at + index] ?? 0;
    else bytes.copy(out, size, at, at + literals);
    size += literals;
    at += literals;
    if (at >= end) break;
    const distance = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
    at += 2;
    let length = (token & 15) + 4;
    if (length === 19) {
      let more = 255;
      while (more === 255 && at < end) length += more = bytes[at++] ?? 0;
    }
    if (distance === 0 || distance > size || size + length > out.length) throw damaged('a match points outside');
    if (distance >= length && length >= 24) out.copyWithin(size, size - distance, size - distance + length);
    else for (let index = 0; index < length; index++) out[size + index] = out[size + index - distance] ?? 0;
    size += length;
  }
  return size;
}

const damaged = (why: string): LakeError => new LakeError('message_format', `an LZ4 batch is damaged: ${why}`);
