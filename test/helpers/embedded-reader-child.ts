// A person's reader beside a running lake: `bun embedded-reader-child.ts <copy>` opens it again and again until SIGTERM. Prints one
// JSON line a look: what tables hold and what positions promise, first and last thing of the look; or an error.

import { existsSync } from 'node:fs';
import { embeddedLook } from './embedded.ts';

const [path = ''] = process.argv.slice(2);
let ending = false;
process.on('SIGTERM', () => {
  ending = true;
});

while (!existsSync(path)) await Bun.sleep(5);
while (!ending) {
  try {
    console.log(JSON.stringify(await embeddedLook(path)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
    ending = true;
  }
}
