// What an error of MySQL, MariaDB or the way to them means for the work in hand (docs/design/0004, section 5).
// Invariant: pure, and no value of a row is in the words: servers quote them, so only texts known to hold names alone pass.

import { type FailureClass, WarehouseFailure } from './warehouse.ts';

const NUMBERS: Readonly<Record<Exclude<FailureClass, 'in_doubt' | 'stop'>, readonly number[]>> = {
  // Deadlock, lock timeout, a row or a table changed under a snapshot, a statement to prepare again, a statement's time limit
  // (3024, MariaDB 1969), a certification that failed (3101).
  retry: [1213, 1205, 1020, 1412, 1615, 1969, 3024, 3101],
  wait: [
    // Too many connections, of all or of this user; threads; transactions.
    ...[1040, 1203, 1226, 1135, 1637],
    // Shutting down, killed, gone, offline, not in the cluster, idle for too long.
    ...[1053, 1077, 1079, 1317, 1927, 2002, 2003, 2006, 2013, 2055, 1047, 3032, 3168, 3169, 4031],
    // The way there broke.
    ...[1152, 1158, 1159, 1160, 1161, 1184],
    // Read-only; 1290 is told apart by its words.
    ...[1792, 1836],
    // Space and memory, also of the lock table (1206).
    ...[1114, 1021, 1037, 1041, 1206],
  ],
  row: [
    // Too long, out of range, not of the type, NULL, no default, too large a row.
    ...[1406, 1264, 1265, 1366, 1292, 1411, 1367, 1441, 1048, 1364, 1690, 1118],
    // Not valid in the character set, no valid JSON.
    ...[1300, 3988, 1977, 3140, 3141, 3143, 3156, 3157],
    // The table's own rules: CHECK, foreign key, trigger, partition.
    ...[3819, 4025, 1216, 1452, 1644, 1526],
  ],
  packet: [1153, 2020],
  duplicate: [1062, 1586],
  exists: [1050, 1060],
  missing: [1146, 1054, 1136, 1049, 1051, 1109, 1932],
  // Grants; passwords and how they are asked for; hosts; accounts that are locked or expired.
  denied: [1044, 1045, 1142, 1143, 1227, 1370, 1698, 1251, 1275, 1524, 3159, 1129, 1130, 1820, 1862, 3118, 4151],
};

const CLASS_OF = new Map<number, FailureClass>(
  Object.entries(NUMBERS).flatMap(([name, numbers]) =>
    numbers.map((number): [number, FailureClass] => [number, classNamed(name)]),
  ),
);

function classNamed(name: string): FailureClass {
  // The keys of NUMBERS, which Object.entries forgets.
  return name as keyof typeof NUMBERS;
}

/** Sockets, name resolution, and what mysql2 calls a connection that broke. */
const AWAY = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_|ENOTFOUND|EADDR|EMFILE|ENFILE|PROTOCOL_)/;
/** Certificates and TLS settings that do not fit: waiting does not help. */
const UNTRUSTED = /CERT|SSL|TLS|ALTNAME|ISSUER|SIGNATURE/;
/** mysql2 gives one code to all that ends a handshake, also to a connection that broke in it. */
const BROKEN = /disconnected before|ECONN|EPIPE|ETIMEDOUT|socket hang up|connection (was )?(closed|reset)/i;

type Facts = { readonly number: number | null; readonly code: string; readonly message: string; readonly fatal: boolean };

function factsOf(error: unknown): Facts {
  if (!(error instanceof Error)) return { number: null, code: '', message: String(error), fatal: false };
  const number = 'errno' in error && typeof error.errno === 'number' && error.errno > 0 ? error.errno : null;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return { number, code, message: error.message, fatal: 'fatal' in error && error.fatal === true };
}

function classOf({ number, code, message, fatal }: Facts): FailureClass {
  if (code === 'HANDSHAKE_SSL_ERROR' && BROKEN.test(message)) return 'wait';
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT' || (number === null && UNTRUSTED.test(code))) return 'denied';
  if (number === null) return fatal || AWAY.test(code) ? 'wait' : 'stop';
  // "The server is running with the --read-only option": other options that prevent a statement do not pass.
  if (number === 1290) return /read[-_]only/i.test(message) ? 'wait' : 'stop';
  // The disk is full below the engine, or below a temporary file: "Got error 28", "errno: 28 - No space left on device".
  if ([3, 20, 1026, 1030].includes(number)) return /\berror 28\b|\berrno: 28\b|no space left/i.test(message) ? 'wait' : 'stop';
  return CLASS_OF.get(number) ?? 'stop';
}

/** Rewritings of texts that quote a value, which may itself look like the rest of the text: it is taken as long as it can be. */
const CUTS: readonly (readonly [RegExp, string])[] = [
  [/^Duplicate entry '.*' for key '([^']*)'$/s, "a row with this key is there already, key '$1'"],
  [
    /^((?:Data truncation: )?(?:Incorrect|Truncated incorrect) [\w ]+) value: '.*' for column (.+ at row \d+)$/s,
    '$1 value for column $2',
  ],
  [/^((?:Incorrect|Truncated incorrect) [\w ]+) value: '.*'(?: for function (\w+))?$/s, '$1 value'],
  [/^Invalid JSON text: .* in value for column '([^']*)'\.?$/s, "invalid JSON text for column '$1'"],
  [/^Table has no partition for value .*$/s, 'the table has no partition for a value of the row'],
  [/^([A-Z ]+ value is out of range) in '.*'$/s, '$1'],
];
/** Names of columns, tables, constraints, users alone: nothing of a row. */
const NAMES_ONLY: readonly RegExp[] = [
  /^(Data too long|Out of range value|Data truncated) for column '[^']*' at row \d+$/,
  /^Column '[^']*' cannot be null$/,
  /^Field '[^']*' doesn't have a default value$/,
  /^Check constraint '[^']*' is violated\.$/,
  /^CONSTRAINT `[^`]*` failed for `[^`]*`\.`[^`]*`$/,
  /^Cannot add or update a child row: a foreign key constraint fails \(`.*`\)$/,
  /^Row size too large/,
];
/** Classes in whose texts the server has no row at hand. */
const ROWLESS: readonly FailureClass[] = ['retry', 'wait', 'packet', 'missing', 'denied'];

function wordsOf({ number, code, message }: Facts, failureClass: FailureClass): string {
  if (number === null || ROWLESS.includes(failureClass)) return message;
  for (const [pattern, words] of CUTS) if (pattern.test(message)) return message.replace(pattern, words);
  if (NAMES_ONLY.some((pattern) => pattern.test(message))) return message;
  // A trigger says what it likes, a text nobody foresaw may quote anything.
  if (failureClass === 'row') return code || 'the server refuses a row';
  return message.replace(/'.*'/s, "'…'").replace(/".*"/s, '"…"');
}

/** Never `in_doubt`: only the place that sent COMMIT knows that. */
export function classify(error: unknown): WarehouseFailure {
  if (error instanceof WarehouseFailure) return error;
  const facts = factsOf(error);
  const failureClass = classOf(facts);
  // mysql2 hangs the whole statement on the errors of the server: as a cause they would carry rows into a log.
  return new WarehouseFailure(failureClass, wordsOf(facts, failureClass), {
    number: facts.number,
    ...(facts.number === null ? { cause: error } : {}),
  });
}
