// What the doctor makes of what it found.
import { describe, expect, test } from 'bun:test';
import {
  clockLine,
  type DoctorLine,
  diskLines,
  fsyncLine,
  groupLine,
  memoryLine,
  missingGrants,
  openFilesLine,
  type ServerFacts,
  serverLines,
  topicLines,
  verdictOf,
} from '../../src/model/doctor.ts';

const MB = 1_000_000;
const line = (state: DoctorLine['state'], away = false): DoctorLine => ({
  ...{ target: 'host', check: 'memory', state, what: 'x', todo: 'y', away },
});
const states = (found: readonly DoctorLine[]): string[] => found.map(({ check, state }) => `${check} ${state}`);

describe('the exit status', () => {
  test.each([
    [[line('ok'), line('warn')], 0],
    [[line('ok'), line('bad', true)], 4],
    [[line('bad'), line('bad', true)], 1],
    [[], 0],
  ] as const)('of %#', (found, exit) => expect(verdictOf(found)).toBe(exit));
});

describe('the host', () => {
  test.each([
    [null, 'ok'],
    [Number.POSITIVE_INFINITY, 'ok'],
    [65_536, 'ok'],
    [1_024, 'warn'],
    [256, 'bad'],
  ] as const)('%p open files are %s', (limit, state) => expect(openFilesLine(limit).state).toBe(state));

  test.each([
    [2_000 * MB, 'ok'],
    [300 * MB, 'warn'],
    [100 * MB, 'bad'],
  ] as const)('%p bytes of memory are %s', (bytes, state) => expect(memoryLine(bytes, 32 * MB).state).toBe(state));

  const disk = { path: '/d', freeBytes: 500_000 * MB, totalBytes: 1_000_000 * MB, freeInodes: 1e6, totalInodes: 2e6 };
  test.each([
    [{}, ['disk_space ok', 'inodes ok']],
    [{ freeBytes: 50_000 * MB }, ['disk_space warn', 'inodes ok']],
    [{ freeBytes: 50 * MB }, ['disk_space bad', 'inodes ok']],
    [{ freeInodes: 50_000 }, ['disk_space ok', 'inodes warn']],
    [{ freeInodes: 5 }, ['disk_space ok', 'inodes bad']],
    [{ freeInodes: 0, totalInodes: 0 }, ['disk_space ok', 'inodes ok']],
  ])('a disk with %j is %j', (more, wanted) => expect(states(diskLines({ ...disk, ...more }, 32 * MB))).toEqual(wanted));

  test.each([
    [2, 'ok'],
    [200, 'warn'],
    [2_000, 'bad'],
  ] as const)('an fsync of %p ms is %s', (ms, state) => expect(fsyncLine(ms).state).toBe(state));

  test.each([
    [500, 0, 'ok'],
    [5_000, 0, 'warn'],
    [-90_000, 0, 'bad'],
    // The answer took longer than that.
    [5_000, 4_000, 'ok'],
  ] as const)('a clock %p ms away, asked within %p ms, is %s', (skewMs, errorMs, state) =>
    expect(clockLine('warehouse', { skewMs, errorMs }).state).toBe(state),
  );
});

describe('a group', () => {
  const group = { groupId: 'g', state: 'Stable', protocol: 'Ours', members: [{ clientId: 'c', host: 'h' }] };
  test.each([
    [{}, 'ok'],
    [{ members: [], state: 'Empty', protocol: '' }, 'ok'],
    [{ state: 'PreparingRebalance', protocol: '' }, 'warn'],
    [{ protocol: 'range' }, 'bad'],
  ])('%j is %s', (more, state) => expect(groupLine({ ...group, ...more }, 'Ours').state).toBe(state as never));

  test('of other programs is told with who they are', () => {
    const { what } = groupLine(
      { ...group, protocol: 'range', members: [{ clientId: 'kafka-python-2.0', host: '10.0.0.7' }] },
      'Ours',
    );
    expect(what).toBe('group g is used by other programs (kafka-python-2.0 at 10.0.0.7), which assign by range');
  });
});

describe('a server', () => {
  const ALL = 'GRANT ALL PRIVILEGES ON *.* TO `root`@`%` WITH GRANT OPTION';
  const server: ServerFacts = {
    ...{ engine: 'mysql', version: '8.0.36', packetBytesMax: 64 * MB, sqlMode: 'STRICT_TRANS_TABLES', timeZone: 'UTC' },
    ...{ isReadOnly: false, grants: [ALL], database: 'shop' },
  };
  const worst = (more: Partial<ServerFacts>): string[] =>
    states(serverLines({ ...server, ...more })).filter((text) => !text.endsWith(' ok'));
  test.each([
    [{}, []],
    [{ version: '5.7.44-log' }, ['version bad']],
    [{ engine: 'mariadb', version: '10.11.6-MariaDB-0+deb12u1' }, []],
    [{ engine: 'mariadb', version: '10.5.1-MariaDB' }, ['version bad']],
    [{ isReadOnly: true }, ['writable bad']],
    [{ packetBytesMax: 1024 * 1024 }, ['packet_size warn']],
    [{ sqlMode: '' }, ['sql_mode warn']],
    [{ grants: ['GRANT USAGE ON *.* TO `lake`@`%`'] }, ['grants bad']],
    [{ grants: ['GRANT USAGE ON *.* TO `lake`@`%`', 'GRANT `etl`@`%` TO `lake`@`%`'] }, ['grants warn']],
  ] as [Partial<ServerFacts>, string[]][])('with %j has %j', (more, wanted) => expect(worst(more)).toEqual(wanted));

  const NEEDED = 'SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP, CREATE VIEW, SHOW VIEW';
  test.each([
    ['GRANT ALL PRIVILEGES ON `shop`.* TO `u`@`%`', 0],
    [`GRANT ${NEEDED} ON \`shop\`.* TO \`u\`@\`%\``, 0],
    [`GRANT ${NEEDED} ON \`sh%\`.* TO \`u\`@\`%\``, 0],
    [`GRANT ${NEEDED} ON \`other\`.* TO \`u\`@\`%\``, 10],
    [`GRANT ${NEEDED} ON \`shop\`.\`one_table\` TO \`u\`@\`%\``, 10],
    ['GRANT SELECT ON `shop`.* TO `u`@`%`', 9],
  ])('%s leaves %p missing', (grant, count) => expect(missingGrants([grant], 'shop').length).toBe(count));

  test('a database name in a grant is a pattern, in which a backslash takes a letter as it is', () => {
    const grant = 'GRANT ALL PRIVILEGES ON `data\\_warehouse`.* TO `u`@`%`';
    expect(missingGrants([grant], 'data_warehouse')).toEqual([]);
    expect(missingGrants([grant], 'dataXwarehouse').length).toBe(10);
  });
});

describe('a topic', () => {
  const topic = {
    feed: 'f',
    topic: 't',
    partitions: 3,
    isCompacted: false,
    deleteRetentionMs: 1,
    retentionMs: 1e9,
    isAhead: false,
  };
  test.each([
    [{ type: 'stream' }, ['topic ok']],
    [{ type: 'stream', isCompacted: true }, ['topic warn']],
    [{ type: 'table' }, ['topic warn']],
    [{ type: 'table', retentionMs: null }, ['topic ok']],
    [{ type: 'table', isCompacted: true }, ['topic ok']],
    [{ type: 'stream', isAhead: true }, ['topic ok', 'clock warn']],
  ])('%j is %j', (more, wanted) => expect(states(topicLines({ ...topic, ...more } as never))).toEqual(wanted));
});
