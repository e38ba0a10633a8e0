// What every ObjectStore promises. One body, run against each adapter.

import { afterAll, describe, expect, test } from 'bun:test';
import { linkSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { openLocalStore } from '../../src/lake/local-store.ts';
import { storeError } from '../../src/lake/store-error.ts';

const roots: string[] = [];
const newRoot = () => {
  const root = mkdtempSync(join(tmpdir(), 'lake-store-'));
  roots.push(root);
  return root;
};
afterAll(() => {
  for (const root of roots) rmSync(root, { recursive: true, force: true });
});

const bytes = (text: string) => Buffer.from(text);
const textOf = (content: Uint8Array | null) => content && Buffer.from(content).toString('utf8');
const ADAPTERS = [{ name: 'local', open: () => openLocalStore({ root: newRoot(), access: 'write' }) }];

for (const adapter of ADAPTERS) {
  describe(adapter.name, () => {
    const create = async (key: string, text: string) => {
      const store = await adapter.open();
      await store.createExclusive({ key, staging: '_lake/t', content: bytes(text) });
      return store;
    };

    test('what is not there has no content and no size, and is removed without an error', async () => {
      const store = await adapter.open();
      expect([await store.read('a/b'), await store.size('a/b')]).toEqual([null, null]);
      expect(await store.list('a')).toEqual([]);
      await store.remove('a/b');
      await store.removeEmptyFolders('a');
    });

    test('an object is created once; the second creator is told so and changes nothing', async () => {
      const store = await create('log/1.json', 'first');
      expect(await store.createExclusive({ key: 'log/1.json', staging: '_lake/t', content: bytes('second') })).toBe('exists');
      expect(textOf(await store.read('log/1.json'))).toBe('first');
    });

    test('of twenty creators at once one wins', async () => {
      const store = await adapter.open();
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          store.createExclusive({ key: 'log/1.json', staging: `_lake/t${n}`, content: bytes(`${n}`) }),
        ),
      );
      expect(answers.filter((answer) => answer === 'created').length).toBe(1);
      expect(textOf(await store.read('log/1.json'))).toBe(`${answers.indexOf('created')}`);
      expect((await store.list('_lake')).length).toBe(0);
    });

    test('a reader meets a new object whole or not at all', async () => {
      const store = await adapter.open();
      const content = Buffer.alloc(20_000_000, 'x');
      const sizes = new Set<number | null>();
      let done = false;
      const created = store.createExclusive({ key: 'log/1.json', staging: '_lake/t', content }).then(() => {
        done = true;
      });
      while (!done) sizes.add(await store.size('log/1.json'));
      await created;
      sizes.delete(null);
      sizes.delete(content.length);
      expect([...sizes]).toEqual([]);
    });

    test('a left-over under the staging name that is a second name of a committed object does not harm it', async () => {
      const store = await create('log/1.json', 'committed');
      linkSync(store.localPath('log/1.json'), store.localPath('_lake/left'));
      await store.createExclusive({ key: 'log/2.json', staging: '_lake/left', content: bytes('next') });
      expect(textOf(await store.read('log/1.json'))).toBe('committed');
      expect(textOf(await store.read('log/2.json'))).toBe('next');
    });

    test('replace creates and replaces', async () => {
      const store = await adapter.open();
      for (const text of ['one', 'two']) {
        await store.replace({ key: 'c/1.json', staging: '_lake/t', content: bytes(text) });
        expect(textOf(await store.read('c/1.json'))).toBe(text);
      }
    });

    test('a move makes the folders it needs, replaces, and tells when there is nothing to move', async () => {
      const store = await create('a/1', 'one');
      expect(await store.move('a/1', 'b/c/d/1')).toBe('moved');
      expect(await store.move('a/1', 'b/c/d/1')).toBe('missing');
      expect(await store.move('nowhere/1', 'b/c/d/1')).toBe('missing');
      expect(textOf(await store.read('b/c/d/1'))).toBe('one');
      expect(await store.read('a/1')).toBeNull();
    });

    test('a list is in key order, over all depths, with sizes', async () => {
      const store = await adapter.open();
      for (const key of ['f/b/2', 'f/a', 'f/b/1', 'g/1']) {
        await store.createExclusive({ key, staging: '_lake/t', content: bytes(key) });
      }
      const listed = await store.list('f');
      expect(listed.map(({ key, bytes }) => [key, bytes])).toEqual([
        ['f/a', 3],
        ['f/b/1', 5],
        ['f/b/2', 5],
      ]);
      for (const { changedAtMs } of listed) expect(Math.abs(changedAtMs - Date.now())).toBeLessThan(60_000);
    });

    test('a move counts as a change of the object', async () => {
      const store = await create('a/1', 'one');
      const before = (await store.list('a'))[0]?.changedAtMs ?? 0;
      while (Date.now() - before < 20) await new Promise((resolve) => setTimeout(resolve, 5));
      await store.move('a/1', 'b/1');
      expect((await store.list('b'))[0]?.changedAtMs ?? 0).toBeGreaterThan(before);
    });

    test('objects that the engine wrote are made durable with their folders; one that is missing is an error', async () => {
      const store = await adapter.open();
      const path = store.localPath('_lake/s/w/year=2025/1.parquet');
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, 'rows');
      await store.makeDurable(['_lake/s/w/year=2025/1.parquet']);
      await expect(store.makeDurable(['_lake/s/w/2.parquet'])).rejects.toMatchObject({ code: 'ENOENT' });
    });

    test('only empty folders are taken away', async () => {
      const store = await create('f/a/1', 'one');
      mkdirSync(store.localPath('f/b/c'), { recursive: true });
      await store.removeEmptyFolders('f');
      expect(() => statSync(store.localPath('f/b'))).toThrow();
      expect(textOf(await store.read('f/a/1'))).toBe('one');
    });

    test('a key cannot leave the lake', async () => {
      const store = await adapter.open();
      for (const key of ['../x', '/etc/passwd', '', 'a/../../x']) expect(() => store.localPath(key)).toThrow();
    });
  });
}

describe('a local lake', () => {
  test('over two devices is refused at start', async () => {
    const elsewhere = mkdtempSync('/dev/shm/lake-other-');
    roots.push(elsewhere);
    for (const place of ['streams', 'tables', 'dead_letters', 'streams/orders']) {
      const root = newRoot();
      mkdirSync(join(root, '_lake'));
      if (place.includes('/')) mkdirSync(dirname(join(root, place)));
      symlinkSync(elsewhere, join(root, place));
      for (const access of ['read', 'write'] as const) {
        await expect(openLocalStore({ root, access })).rejects.toMatchObject({ code: 'lake_other_device' });
      }
    }
  });

  test('opened for reading is not made', async () => {
    const root = join(newRoot(), 'none');
    const store = await openLocalStore({ root, access: 'read' });
    expect(await store.read('_lake/lake.json')).toBeNull();
    expect(() => statSync(root)).toThrow();
  });

  test('a rename to another device is named as such', async () => {
    const elsewhere = mkdtempSync('/dev/shm/lake-other-');
    roots.push(elsewhere);
    const root = newRoot();
    const store = await openLocalStore({ root, access: 'write' });
    await store.createExclusive({ key: '_lake/1', staging: '_lake/t', content: bytes('1') });
    symlinkSync(elsewhere, join(root, 'streams'));
    await expect(store.move('_lake/1', 'streams/1')).rejects.toMatchObject({ code: 'lake_other_device' });
  });

  test.each([
    ['ENOSPC', 'disk_full'],
    ['EDQUOT', 'disk_full'],
    ['EACCES', 'lake_not_writable'],
    ['EROFS', 'lake_not_writable'],
    ['EPERM', 'lake_not_writable'],
    ['ENOTDIR', 'lake_not_writable'],
    ['ELOOP', 'lake_not_writable'],
    ['EXDEV', 'lake_other_device'],
  ])('%s becomes %s with the path', (errno, code) => {
    const error = storeError(Object.assign(new Error(errno), { code: errno }), '/lake/x');
    expect(error).toMatchObject({ code, where: { path: '/lake/x' } });
  });
});
