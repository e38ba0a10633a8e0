// A feeds.json for a folder that has none: where Kafka, the lake and the warehouse are, and no feed yet. Pure.
// Invariant: no secret is written; a password stays in the environment.

import type { JsonObject } from '../model/json-fields.ts';
import type { Overrides } from './overrides.ts';
import { renderJsonc } from './render-jsonc.ts';

const HEAD = `// The feeds of this lake: which Kafka topic goes where, and as what. Comments and trailing commas are allowed.
// \${NAME} and \${NAME:-default} come from the environment, \${file:/path} from a file. After a change: lake feeds check
`;

const COMMENTS: Readonly<Record<string, string>> = {
  kafka: `  // One or more host:port. "group_id" and "warehouse_group_id" name the two consumer groups; "ssl" and "sasl" open secured listeners:
  // "sasl": { "mechanism": "scram-sha-512", "username": "lake", "password": "\${KAFKA_PASSWORD}" }
`,
  lake: `  // A relative path is taken from the folder of this file. The timezone ("UTC" unless given) decides which day a row belongs to.
`,
  warehouse: `  // MySQL 8.0.15 or later, or MariaDB 10.11 or later; the database is made when it is missing.
`,
};

const NO_SERVER = `  // Without a "warehouse" the tables are kept in data_lake/warehouse.duckdb. A server instead:
  // "warehouse": { "engine": "mysql", "host": "localhost", "user": "lake", "password": "\${MYSQL_PASSWORD}", "database": "data_warehouse" },

`;

const FEEDS = `  // lake feeds add <name> writes a feed from sample messages of its topic. By hand, a stream and a table:
  // { "feed_name": "customer_events", "feed_type": "stream", "destination": "data_lake", "event_time": "timestamp",
  //   "schema": { "fields": { "customer_id": "VARCHAR", "event": "VARCHAR", "timestamp": "TIMESTAMP" } },
  //   "retention": { "retention_days": 180, "auto_delete": true } }
  // { "feed_name": "user_totals", "feed_type": "table", "destination": "both", "snapshot_every": "day",
  //   "schema": { "key_field": "user_id", "fields": { "user_id": { "type": "VARCHAR(255)", "required": true }, "total": "DECIMAL(15,2)" } },
  //   "retention": { "retention_versions": 30, "auto_delete": true } }
`;

/** What the flags say is written down, so that the next command needs none of them. */
export function starterText(flags: Overrides): string {
  const { bootstrapServers = 'localhost:9092', groupId, warehouseGroupId, lakePath = 'data_lake', timezone, compression } = flags;
  const { mysqlHost, mysqlPort, mysqlUser, mysqlDatabase, mysqlPassword } = flags;
  const isMysql = [mysqlHost, mysqlPort, mysqlUser, mysqlDatabase, mysqlPassword].some((flag) => flag !== undefined);
  const sections: Record<string, JsonObject> = {
    kafka: {
      bootstrap_servers: bootstrapServers.split(',').map((server) => server.trim()),
      ...(groupId !== undefined && { group_id: groupId }),
      ...(warehouseGroupId !== undefined && { warehouse_group_id: warehouseGroupId }),
    },
    lake: { path: lakePath, ...(compression !== undefined && { compression }), ...(timezone !== undefined && { timezone }) },
    ...(isMysql && {
      warehouse: {
        engine: 'mysql',
        host: mysqlHost ?? 'localhost',
        port: Number(mysqlPort ?? 3306),
        user: mysqlUser ?? 'root',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: filled in when the file is read
        password: '${MYSQL_PASSWORD:-}',
        database: mysqlDatabase ?? 'data_warehouse',
      },
    }),
  };
  const style = { unit: '  ', eol: '\n' };
  const lines = Object.entries(sections).map(
    ([name, section]) => `${COMMENTS[name] ?? ''}  ${JSON.stringify(name)}: ${renderJsonc(section, '  ', style)},\n\n`,
  );
  const feeds = `${isMysql ? '' : NO_SERVER}${FEEDS}  "feeds": []\n`;
  return `${HEAD}{\n${lines.join('')}${feeds}}\n`;
}
