// Compiled by embedded.test.ts: the smallest program that carries DuckDB the way lake does.

import { DuckDBInstance } from '@duckdb/node-api';

const connection = await (await DuckDBInstance.create(':memory:')).connect();
await connection.run("copy (select range as n from range(1000)) to 'out.parquet' (format parquet)");
const answer = await connection.runAndReadAll("select sum(n)::varchar from 'out.parquet'");
process.stdout.write(String(answer.getRows()[0]?.[0]));
