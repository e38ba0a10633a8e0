// lake doctor: everything that an installation needs, looked at one by one, whatever else is away.
// Invariant: nothing permanent is touched; what cannot be asked becomes a line, and ends nothing.

import { ASSIGNER_NAME } from '../broker/assigner.ts';
import { groupFacts, reachBroker } from '../broker/reach.ts';
import { topicRetentionMs, topicSettings } from '../broker/topic-settings.ts';
import { offsetsAt, topicBounds, topicNames } from '../broker/watermarks.ts';
import { LakeError } from '../errors.ts';
import { readLakeIdentity } from '../lake/lake-identity.ts';
import { checkOneDevice } from '../lake/one-device.ts';
import {
  clockLine,
  type DoctorLine,
  type DoctorTarget,
  diskLines,
  fsyncLine,
  groupLine,
  lines,
  memoryLine,
  openFilesLine,
  serverLines,
  topicLines,
} from '../model/doctor.ts';
import type { Feed } from '../model/feed.ts';
import { UNKNOWN_DATABASE } from '../warehouse/mysql-open.ts';
import { lookAtServer } from '../warehouse/server-facts.ts';
import { WarehouseFailure } from '../warehouse/warehouse.ts';
import { diskOf, isWritable, memoryFreeBytes, nearestFolder, openFilesMax, tryDisk } from './host-facts.ts';
import type { Installation } from './installation.ts';

/** In the order of the table. */
export async function examine(installation: Installation): Promise<readonly DoctorLine[]> {
  const feeds = installation.config.feeds.filter(({ enabled }) => enabled);
  const parts = [
    () => lookAtKafka(installation, feeds),
    () => lookAtWarehouse(installation),
    () => lookAtLake(installation),
    () => lookAtHost(installation),
  ];
  // Each waits for other things than the others.
  return (await Promise.all(parts.map((part) => part()))).flat();
}

type Check = { readonly target: DoctorTarget; readonly check: string };

/** What a look throws is what it found. */
async function told({ target, check }: Check, look: () => Promise<readonly DoctorLine[]>): Promise<readonly DoctorLine[]> {
  try {
    return await look();
  } catch (error) {
    if (
      !(error instanceof LakeError || error instanceof WarehouseFailure) ||
      (error instanceof LakeError && error.code === 'bug')
    )
      throw error;
    const isAway = error instanceof LakeError ? error.code.endsWith('_unreachable') : error.class === 'wait';
    const line = { what: error.message.split('\n')[0] ?? '', todo: error.todo ?? 'see the words of the server' };
    return [isAway ? lines(target, check).away(line) : lines(target, check).bad(line)];
  }
}

const AHEAD_MS = 5 * 60_000;
const BROKERS_MAX = 100;

async function lookAtKafka(installation: Installation, feeds: readonly Feed[]): Promise<readonly DoctorLine[]> {
  const { lines: found, some } = await lookAtBrokers(installation);
  if (!some) return found;
  return [
    ...found,
    ...(await told({ target: 'kafka', check: 'group' }, () => lookAtGroups(installation))),
    ...(await lookAtTopics(installation, feeds)),
  ];
}

/** Those of the configuration, then those that they name. */
async function lookAtBrokers({
  config,
  log,
}: Installation): Promise<{ readonly lines: readonly DoctorLine[]; readonly some: boolean }> {
  const { kafka } = config;
  const say = lines('kafka', 'broker');
  const how = `${kafka.ssl === false ? 'without TLS' : 'with TLS'}${kafka.sasl ? `, as ${kafka.sasl.username}` : ''}`;
  const waiting = [...kafka.bootstrapServers];
  const asked = new Set<string>();
  const found: DoctorLine[] = [];
  let some = false;
  for (let address = waiting.shift(); address !== undefined && asked.size < BROKERS_MAX; address = waiting.shift()) {
    if (asked.has(address)) continue;
    asked.add(address);
    const reached = await reachBroker(kafka, address, log);
    const isNamed = !kafka.bootstrapServers.includes(address);
    if (reached.kind === 'answers') {
      some = true;
      found.push(say.ok(`${address} answers ${how}`));
      waiting.push(...reached.brokers);
    } else if (reached.error.code === 'kafka_unreachable') {
      const todo = isNamed
        ? 'the cluster gives clients this address: make it reachable from here, or correct advertised.listeners of that broker'
        : 'start the broker, or correct kafka.bootstrap_servers; if it runs, see whether this port wants TLS (kafka.ssl)';
      found.push(say.away({ what: `${address} does not answer ${how}: ${reached.words}`, todo }));
    } else {
      const todo = 'correct kafka.sasl and kafka.ssl as the listener of this port wants them';
      found.push(say.bad({ what: `${address} refuses ${how}: ${reached.words}`, todo }));
    }
  }
  return { lines: found, some };
}

async function lookAtGroups(installation: Installation): Promise<readonly DoctorLine[]> {
  const { kafka } = installation.config;
  const facts = await groupFacts(await installation.kafka(), kafka, [kafka.groupId, kafka.warehouseGroupId]);
  return facts.map((one) => groupLine(one, ASSIGNER_NAME));
}

async function lookAtTopics(installation: Installation, feeds: readonly Feed[]): Promise<readonly DoctorLine[]> {
  const { config, nowMs } = installation;
  const { kafka } = config;
  const at = { target: 'kafka', check: 'topic' } as const;
  const names = new Set<string>();
  const unseen = await told(at, async () => {
    for (const name of await topicNames(await installation.kafka(), kafka)) names.add(name);
    return [];
  });
  if (unseen.length > 0) return unseen;
  const found: DoctorLine[] = [];
  for (const { name: feed, topic, type } of feeds) {
    const missing = { what: `${topic} of feed ${feed} does not exist`, todo: 'create it, or correct topic in feeds.json' };
    if (!names.has(topic)) found.push(lines('kafka', 'topic').bad(missing));
    else
      found.push(
        ...(await told(at, async () => {
          const admin = await installation.kafka();
          const bounds = await topicBounds(admin, kafka, topic);
          const ahead = await offsetsAt(admin, kafka, topic, nowMs() + AHEAD_MS);
          const isAhead = [...ahead].some(([partition, offset]) => offset < (bounds.get(partition)?.end ?? offset));
          const settings = await topicSettings(admin, kafka, topic);
          const retentionMs = await topicRetentionMs(admin, kafka, topic);
          return topicLines({ feed, topic, type, partitions: bounds.size, ...settings, retentionMs, isAhead });
        })),
      );
  }
  return found;
}

async function lookAtWarehouse(installation: Installation): Promise<readonly DoctorLine[]> {
  const { config, nowMs, signal } = installation;
  const { warehouse } = config;
  if (warehouse.engine === 'duckdb')
    return [lines('warehouse', 'server').ok(`none is configured: lake keeps the tables itself (${warehouse.path})`)];
  const { database } = warehouse;
  return told({ target: 'warehouse', check: 'server' }, async () => {
    const server = await installation.warehouse().catch(noDatabaseYet);
    if (server instanceof LakeError) {
      const what = `${warehouse.host}:${warehouse.port} answers ${warehouse.user}, and has no database ${database} yet`;
      return [lines('warehouse', 'server').warn({ what, todo: server.todo })];
    }
    const { facts, clock, lakeId } = await lookAtServer(server, { database, nowMs, signal });
    const found = [
      lines('warehouse', 'server').ok(`${warehouse.host}:${warehouse.port} answers ${warehouse.user} on ${database}`),
      ...serverLines(facts),
      clockLine('warehouse', clock),
    ];
    const mine = await readLakeIdentity(await installation.lake());
    if (lakeId === null || mine === null || mine.lakeId === lakeId) return found;
    const what = `${database} belongs to the lake ${lakeId}, not to this one (${mine.lakeId})`;
    const todo = 'one database serves one lake: name another warehouse.database, or the lake it belongs to';
    return [...found, lines('warehouse', 'identity').bad({ what, todo })];
  });
}

/** The first ingest makes it. */
function noDatabaseYet(error: unknown): LakeError {
  const failure = error instanceof LakeError && error.cause instanceof WarehouseFailure ? error.cause : null;
  if (error instanceof LakeError && failure?.number === UNKNOWN_DATABASE) return error;
  throw error;
}

const isAddress = (path: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(path);

async function lookAtLake({ config, newId, lake }: Installation): Promise<readonly DoctorLine[]> {
  const { path } = config.lake;
  const place = lines('lake', 'path');
  if (isAddress(path))
    return told({ target: 'lake', check: 'path' }, async () => {
      const identity = await readLakeIdentity(await lake());
      return [place.ok(identity ? `${path} holds the lake ${identity.lakeId}` : `${path} answers, and holds no lake yet`)];
    });
  const folder = await nearestFolder(path);
  const isThere = folder === path;
  if (!(await isWritable(folder)))
    return [
      place.bad({
        what: `${folder} cannot be written by this user`,
        todo: 'give this user the right to write there, or name another --lake-path',
      }),
    ];
  return told({ target: 'lake', check: 'path' }, async () => {
    await checkOneDevice(path);
    const { medianMs, links } = await tryDisk(folder, newId());
    const noLinks = {
      what: `the file system of ${folder} gives no second name to a file (link), which each commit needs`,
      todo: 'keep the lake on a local file system: ext4, xfs, btrfs, zfs',
    };
    return [
      links
        ? place.ok(isThere ? `${path} is there, writable, on one device` : `${path} will be made in ${folder}`)
        : place.bad(noLinks),
      ...diskLines(await diskOf(folder), config.batch.batchBytes),
      fsyncLine(medianMs),
    ];
  });
}

async function lookAtHost({ config }: Installation): Promise<readonly DoctorLine[]> {
  return [openFilesLine(await openFilesMax()), memoryLine(await memoryFreeBytes(), config.batch.batchBytes)];
}
