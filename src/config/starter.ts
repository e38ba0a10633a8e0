// A feeds.json for a folder that has none: where Kafka, the lake and the warehouse are, and no feed yet. Pure.
// Invariant: no secret is written; a password stays in the environment.

import type { JsonObject } from '../model/json-fields.ts';
import type { Overrides } from './overrides.ts';
import { renderJsonc } from './render-jsonc.ts';

const HEAD = `// The feeds of this lake: which Kafka topic goes where, and as what. Comments and trailing commas are allowed.
// \${NAME} and \${NAME:-default} come from the environment, \${file:/path} from a file. After a change: lake feeds check
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
    ([name, section]) => `  ${JSON.stringify(name)}: ${renderJsonc(section, '  ', style)},\n`,
  );
  return `${HEAD}{\n${lines.join('')}  "feeds": []\n}\n`;
}
