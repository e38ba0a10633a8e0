// Who runs this program, for the journal: the user of the operating system, the host, and which lake it is.

import { hostname, userInfo } from 'node:os';
import { buildInfo } from '../version.ts';

/** `lake@db1 (lake 1.2.0, commit abc)`; a user without a name is its number. */
export function currentActor(): string {
  const { version, commit } = buildInfo;
  return `${userName()}@${hostname()} (lake ${version}, commit ${commit})`;
}

/** A user id without a name is in many containers; Bun takes the name from USER, and says `unknown` where that is not set. */
function userName(): string {
  try {
    const { username, uid } = userInfo();
    return username === '' || username === 'unknown' ? String(uid) : username;
  } catch {
    return 'unknown';
  }
}
