// `_lake/lake.json`: which lake this is and in which format. Created once, exclusively; never rewritten.

import { LakeError } from '../errors.ts';
import { canonicalJson, intAt, objectAt, stringAt } from '../model/json-fields.ts';
import { LAKE_IDENTITY_PATH } from '../model/paths.ts';
import type { ObjectStore } from './store.ts';

export const LAKE_FORMAT = 1;

export type LakeIdentity = { readonly lakeId: string; readonly format: number; readonly createdAt: string };

/** The lake's identity; whoever comes first makes it. Refuses a lake of a newer format. */
export const openLake = async (options: {
  store: ObjectStore;
  newId: () => string;
  nowMs: () => number;
}): Promise<LakeIdentity> => {
  const found = await readLakeIdentity(options.store);
  if (found) return found;
  const lakeId = options.newId();
  const json = { format: LAKE_FORMAT, lake_id: lakeId, created_at: new Date(options.nowMs()).toISOString() };
  await options.store.createExclusive({
    key: LAKE_IDENTITY_PATH,
    staging: `_lake/staging/lake-${lakeId}.json`,
    content: Buffer.from(`${canonicalJson(json)}\n`),
  });
  const made = await readLakeIdentity(options.store);
  if (!made) throw new LakeError('lake_damaged', `${LAKE_IDENTITY_PATH} is gone right after it was made`);
  return made;
};

/** null: there is no lake here yet. */
export const readLakeIdentity = async (store: ObjectStore): Promise<LakeIdentity | null> => {
  const content = await store.read(LAKE_IDENTITY_PATH);
  if (content === null) return null;
  const where = { file: store.localPath(LAKE_IDENTITY_PATH) };
  try {
    const json = objectAt(JSON.parse(Buffer.from(content).toString('utf8')), 'lake.json');
    const format = intAt(json['format'], 'format', 1);
    if (format > LAKE_FORMAT) {
      throw new LakeError('lake_foreign_format', `the lake has format ${format}, newer than ${LAKE_FORMAT}`, { where });
    }
    return { lakeId: stringAt(json['lake_id'], 'lake_id'), format, createdAt: stringAt(json['created_at'], 'created_at') };
  } catch (cause) {
    if (cause instanceof LakeError && cause.code === 'lake_foreign_format') throw cause;
    throw new LakeError('lake_damaged', `${LAKE_IDENTITY_PATH} cannot be read`, { where, cause });
  }
};
