// Every verb of the command line.

import { adopt } from './adopt.ts';
import { audit } from './audit.ts';
import type { CommandSpec } from './command.ts';
import { compact } from './compact.ts';
import { completionsOf } from './completions.ts';
import { deadLetters } from './dead-letters.ts';
import { doctor } from './doctor.ts';
import { feeds } from './feeds.ts';
import { ingest } from './ingest.ts';
import { init } from './init.ts';
import { lag } from './lag.ts';
import { plan } from './plan.ts';
import { query } from './query.ts';
import { retention } from './retention.ts';
import { rewind } from './rewind.ts';
import { status } from './status.ts';
import { trace } from './trace.ts';
import { verify } from './verify.ts';

/** In the order of `lake --help`. */
export const COMMANDS: readonly CommandSpec[] = [
  init,
  doctor,
  feeds,
  plan,
  ingest,
  status,
  lag,
  verify,
  query,
  trace,
  deadLetters,
  audit,
  retention,
  compact,
  rewind,
  adopt,
  completionsOf(() => COMMANDS),
];
