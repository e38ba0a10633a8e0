// Faults enter by wrapping the port: what happens before and after each call is up to the test.

import type { ObjectStore } from '../../src/lake/store.ts';

export type StoreCall = {
  readonly method: keyof ObjectStore;
  readonly key: string /** From 1, over all methods. */;
  readonly n: number;
};
export type StoreHooks = {
  before?: (call: StoreCall) => Promise<void> | void;
  /** Throwing here is a lost answer: the store has done it. */
  after?: (call: StoreCall) => Promise<void> | void;
};

export const faulty = (store: ObjectStore, hooks: StoreHooks): ObjectStore => {
  let calls = 0;
  const around = async <T>(method: keyof ObjectStore, key: string, work: () => Promise<T>): Promise<T> => {
    calls += 1;
    const call = { method, key, n: calls };
    await hooks.before?.(call);
    const answer = await work();
    await hooks.after?.(call);
    return answer;
  };
  return {
    read: (key) => around('read', key, () => store.read(key)),
    size: (key) => around('size', key, () => store.size(key)),
    list: (prefix) => around('list', prefix, () => store.list(prefix)),
    createExclusive: (request) => around('createExclusive', request.key, () => store.createExclusive(request)),
    replace: (request) => around('replace', request.key, () => store.replace(request)),
    makeDurable: (keys) => around('makeDurable', keys[0] ?? '', () => store.makeDurable(keys)),
    move: (from, to) => around('move', from, () => store.move(from, to)),
    remove: (key) => around('remove', key, () => store.remove(key)),
    removeEmptyFolders: (prefix, options) =>
      around('removeEmptyFolders', prefix, () => store.removeEmptyFolders(prefix, options)),
    localPath: store.localPath,
  };
};

/** The process is dead from this call on: the call itself is done or not, and every later one fails. */
export const crashAt = (n: number, done: 'before' | 'after'): StoreHooks => {
  let dead = false;
  const die = (call: StoreCall) => {
    if (dead || call.n === n) {
      dead = true;
      throw new Error(`crashed ${done} call ${call.n} (${call.method} ${call.key})`);
    }
  };
  return done === 'before' ? { before: die } : { before: (call) => (dead ? die(call) : undefined), after: die };
};

export const failOnce = (matches: (call: StoreCall) => boolean, error: () => Error): ((call: StoreCall) => void) => {
  let failed = false;
  return (call) => {
    if (failed || !matches(call)) return;
    failed = true;
    throw error();
  };
};

/** Holds the first matching call until `go`; `reached` resolves when it is there. A SIGSTOP at exactly one place. */
export const pauseAt = (matches: (call: StoreCall) => boolean) => {
  const reached = Promise.withResolvers<void>();
  const gone = Promise.withResolvers<void>();
  let used = false;
  return {
    reached: reached.promise,
    go: () => gone.resolve(),
    hook: async (call: StoreCall) => {
      if (used || !matches(call)) return;
      used = true;
      reached.resolve();
      await gone.promise;
    },
  };
};
