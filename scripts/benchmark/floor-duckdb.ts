// Floor B, a process of its own: DuckDB alone, from the messages as lines of a file to day-partitioned snappy Parquet, by the
// best statement found: every value typed by the JSON reader (inexact: it rounds and drops without a word), no lineage, no
// commit. Arguments: file, output folder. Prints one JSON line.

import { DuckDBInstance } from '@duckdb/node-api';

const [path = '', folder = ''] = process.argv.slice(2);
const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;

const connection = await (await DuckDBInstance.create(':memory:', { memory_limit: '1GiB' })).connect();
const startedMs = performance.now();
const result = await connection.run(`
  COPY (
    SELECT *, strftime(timestamp, '%Y') AS year, strftime(timestamp, '%m') AS month, strftime(timestamp, '%d') AS day
    FROM read_json(${quoted(path)}, format = 'newline_delimited', columns = {customer_id: 'VARCHAR', event: 'VARCHAR',
      amount: 'DECIMAL(15,2)', session: 'VARCHAR', timestamp: 'TIMESTAMP'})
  ) TO ${quoted(folder)} (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (year, month, day), ROW_GROUP_SIZE 122880)`);
process.stdout.write(`${JSON.stringify({ ms: performance.now() - startedMs, messages: result.rowsChanged })}\n`);
