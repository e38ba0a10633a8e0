// Typed events on stderr. error: data is not moving; warn: moving, but look; info: life cycle, one line a commit; never one a message.
// Fields come in a fixed order, so that lines line up and can be cut by column.

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';
export type LogFormat = 'pretty' | 'json';
export type LogFields = Readonly<Record<string, string | number | bigint | boolean | null | undefined>>;

export type Log = Readonly<Record<LogLevel, (event: string, fields?: LogFields) => void>>;

const RANK: Record<LogLevel, number> = { error: 0, warn: 1, info: 2, debug: 3 };
const FIELD_ORDER = [
  'feed',
  'target',
  'topic',
  'partition',
  'offsets',
  'version',
  'messages',
  'rows',
  'dead_letters',
  'tombstones',
  'files',
  'bytes',
  'duration_ms',
  'attempt',
  'code',
];

export type LogOptions = {
  readonly level: LogLevel;
  readonly format: LogFormat;
  readonly write: (line: string) => void;
  readonly now: () => Date;
  /** Colours the level of pretty lines. */
  readonly paint?: (level: LogLevel, text: string) => string;
};

export function createLog(options: LogOptions): Log {
  const emit = (level: LogLevel, event: string, fields: LogFields): void => {
    if (RANK[level] > RANK[options.level]) return;
    const known = ordered(fields);
    const at = options.now().toISOString();
    if (options.format === 'json') {
      const entry = Object.fromEntries(known.map(([name, value]) => [name, typeof value === 'bigint' ? String(value) : value]));
      options.write(`${JSON.stringify({ at, level, event, ...entry })}\n`);
      return;
    }
    const text = known.map(([name, value]) => `${name}=${pretty(String(value))}`).join(' ');
    options.write(`${at} ${options.paint?.(level, level.padEnd(5)) ?? level.padEnd(5)} ${event}${text ? ` ${text}` : ''}\n`);
  };
  return {
    error: (event, fields = {}) => emit('error', event, fields),
    warn: (event, fields = {}) => emit('warn', event, fields),
    info: (event, fields = {}) => emit('info', event, fields),
    debug: (event, fields = {}) => emit('debug', event, fields),
  };
}

function ordered(fields: LogFields): [string, string | number | bigint | boolean | null][] {
  const rank = (name: string): number => {
    const index = FIELD_ORDER.indexOf(name);
    return index < 0 ? FIELD_ORDER.length : index;
  };
  return Object.entries(fields)
    .flatMap(([name, value]): [string, string | number | bigint | boolean | null][] =>
      value === undefined ? [] : [[name, value]],
    )
    .sort(([a], [b]) => rank(a) - rank(b));
}

const pretty = (text: string): string => (/[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text);
