// Writes feeds.schema.json from the valibot schema; run it after a change of src/config/schema.ts. A test compares the two.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { feedsJsonSchema } from '../src/config/json-schema.ts';

writeFileSync(join(import.meta.dirname, '..', 'feeds.schema.json'), `${JSON.stringify(feedsJsonSchema(), null, 2)}\n`);
