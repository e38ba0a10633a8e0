// A disk that can be filled to its last byte.

import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const isRoot = process.getuid?.() === 0;

/** A file system of so many bytes; root only. */
export function smallDisk(path: string, bytes: number) {
  mkdirSync(path);
  const mounted = Bun.spawnSync(['mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
  if (mounted.exitCode !== 0) throw new Error(`no tmpfs at ${path}: ${mounted.stderr}`);
  const ballast = join(path, 'ballast');
  return {
    /** Leaves so many bytes. */
    fill: (spare: number): void => {
      rmSync(ballast, { force: true });
      const free = Number(Bun.spawnSync(['df', '--output=avail', '-B1', path]).stdout.toString().split('\n')[1]);
      writeFileSync(ballast, Buffer.alloc(Math.max(0, free - spare)));
    },
    empty: (): void => rmSync(ballast, { force: true }),
    [Symbol.dispose]: () => void Bun.spawnSync(['umount', '-l', path]),
  };
}
