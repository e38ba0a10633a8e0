import { LakeError } from '../errors.ts';
import type { Feed, Field } from './feed.ts';
export function inferFields(feed: Feed, _texts: readonly string[]): readonly Field[] {
  throw new LakeError('bug', `infer ${feed.name}`);
}
