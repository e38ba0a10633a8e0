// Who runs this program, for the journal: the user of the operating system, the host, and which lake it is.

import { hostname, userInfo } from 'node:os';
import { buildInfo } from '../version.ts';

/** `lake@db1 (lake 1.2.0, commit abc)`; a user without a name is its number. */
export function currentActor(): string {
  const { version, commit } = buildInfo;
  return `${userName()}@${hostname()} (lake ${version}, commit ${commit})`;
}

/** A user id that the system has no name for, as in many containers. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}
