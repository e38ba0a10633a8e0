// Where the result of a query goes as text. Invariant: a file appears under its name when it is whole.

import { type FileHandle, open, rename, rm } from 'node:fs/promises';

export type Sink = {
  write(text: string): Promise<void>;
  /** After the last. */
  finish(): Promise<void>;
};

const PART_CHARS = 256 * 1024;

/** `send` is called with large parts. */
export function streamSink(send: (bytes: Uint8Array) => Promise<void>): Sink {
  let texts: string[] = [];
  let chars = 0;
  const finish = async (): Promise<void> => {
    const part = Buffer.from(texts.join(''));
    texts = [];
    chars = 0;
    if (part.length > 0) await send(part);
  };
  return {
    write: async (text) => {
      texts.push(text);
      chars += text.length;
      if (chars >= PART_CHARS) await finish();
    },
    finish,
  };
}

/** Writes under another name; then it takes the place of what is there. What fails leaves nothing. */
export async function intoFile(path: string, work: (sink: Sink) => Promise<void>): Promise<void> {
  const partial = partialPath(path);
  let file: FileHandle | null = null;
  try {
    const opened = await open(partial, 'w');
    file = opened;
    const sink = streamSink(async (bytes) => void (await opened.write(bytes)));
    await work(sink);
    await sink.finish();
    await opened.sync();
    await rename(partial, path);
  } finally {
    await file?.close();
    await rm(partial, { force: true });
  }
}

/** In the same folder, so that it can be renamed. */
export const partialPath = (path: string): string => `${path}.partial`;
