// PORT ObjectStore: the few things a lake asks of a file system or an object store. Keys are '/'-separated, relative to the
// lake. Errors are LakeError with the key: disk_full, lake_not_writable, lake_other_device; anything else keeps its cause.

export type StoredObject = {
  readonly key: string;
  readonly bytes: number;
  /** When its content or its name last changed (local: ctime, so a rename counts; S3: LastModified). */
  readonly changedAtMs: number;
};

export type ObjectStore = {
  /** null: there is no such object. */
  read(key: string): Promise<Uint8Array | null>;
  /** Size in bytes, or null. */
  size(key: string): Promise<number | null>;
  /** All objects below a folder (`prefix` without the trailing '/'), in key order. */
  list(prefix: string): Promise<readonly StoredObject[]>;
  /**
   * Creates `key` whole or not at all, durably (R3). `staging` is a key on the same device that the store may write first.
   * If it throws, the outcome is unknown: read the key back.
   */
  createExclusive(request: { key: string; staging: string; content: Uint8Array }): Promise<'created' | 'exists'>;
  /** Creates or replaces `key` whole or not at all (checkpoints). */
  replace(request: { key: string; staging: string; content: Uint8Array }): Promise<void>;
  /** Objects, their folders and all parents survive a power cut after this (R2). */
  makeDurable(keys: readonly string[]): Promise<void>;
  /** Moves an object to another name, replacing what is there. 'missing': there is nothing under `from`. */
  move(from: string, to: string): Promise<'moved' | 'missing'>;
  /** No error when it is not there. */
  remove(key: string): Promise<void>;
  /**
   * Takes away empty folders below and including `prefix`, that have not changed since the given moment if one is given;
   * nothing on stores without folders.
   */
  removeEmptyFolders(prefix: string, options?: { changedBeforeMs: number }): Promise<void>;
  /** Where the engine writes or reads `key`: a file name here, a URL on an object store. Makes no folder. */
  localPath(key: string): string;
};
