// The flags that every command takes.

import { OVERRIDE_FLAGS } from '../config/overrides.ts';
import type { CommandOption } from './command.ts';

export const GLOBAL_OPTIONS: readonly CommandOption[] = [
  { flag: '--config <file>', text: 'The configuration', default: 'feeds.json' },
  { flag: '--json', text: 'One JSON document on stdout' },
  { flag: '--log-format <format>', text: 'pretty or json', default: 'pretty', values: ['pretty', 'json'] },
  {
    flag: '--log-level <level>',
    text: 'error, warn, info or debug',
    default: 'info',
    values: ['error', 'warn', 'info', 'debug'],
  },
  { flag: '--version', text: 'Version, commit and runtimes' },
  ...OVERRIDE_FLAGS.map(({ flag, place }) => ({ flag: `${flag} <value>`, text: `Instead of ${place} in the file` })),
];
