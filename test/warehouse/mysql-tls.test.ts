// TLS to MySQL and MariaDB: whom lake talks to, whom it refuses and what it says then, and that a handshake which breaks is waited out.

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { copyFileSync } from 'node:fs';
import { connect as connectSocket, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../scripts/service/process.ts';
import type { Warehouse } from '../../src/warehouse/warehouse.ts';
import { type Authority, type Certificate, makeAuthority, makeCertificate } from '../helpers/certificates.ts';
import { mysqlEngines, startPrivateMysql, testMysql } from '../helpers/mysql.ts';
import { tempDir } from '../helpers/services.ts';
import { lakeErrorOf, never, openOn, sql } from './mysql-helpers.ts';

setDefaultTimeout(180_000);

const verified = (ca: Authority) => ({ ca: ca.pem, rejectUnauthorized: true });
const oneOf = async (warehouse: Warehouse) => String((await warehouse.run(sql('SELECT 1 AS one'), never))[0]?.['one']);
const REFUSED = 'correct warehouse.ssl: the CA, the name of the host in the certificate, or switch it off';

/** Breaks each connection at the n-th piece that the client sends, the first of which asks for TLS; then lets them through. */
async function breaking(upstreamPort: number, { at, how, times }: { at: number; how: 'end' | 'reset'; times: number }) {
  let broken = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connectSocket(upstreamPort, '127.0.0.1');
    let pieces = 0;
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => other.destroy());
    }
    client.on('data', (data) => {
      if (broken >= times || ++pieces < at) return void upstream.write(data);
      broken++;
      if (how === 'reset') client.resetAndDestroy();
      else client.destroy();
    });
    upstream.on('data', (data) => client.write(data));
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    port,
    broken: () => broken,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe.each([...mysqlEngines])('%s', (engine) => {
  test('the CA that signed is trusted, all others are told apart from a server that is away', async () => {
    await using folder = await tempDir();
    const [ours, theirs] = [
      makeAuthority(join(folder.path, 'ours'), 'ours'),
      makeAuthority(join(folder.path, 'theirs'), 'theirs'),
    ];
    const certificates = {
      good: makeCertificate(ours, 'good', { altName: 'IP:127.0.0.1' }),
      expired: makeCertificate(ours, 'expired', { altName: 'IP:127.0.0.1', expired: true }),
      elsewhere: makeCertificate(ours, 'elsewhere', { altName: 'DNS:elsewhere.example' }),
    };
    const [cert, key] = [join(folder.path, 'server.pem'), join(folder.path, 'server-key.pem')];
    const show = ({ certPath, keyPath }: Certificate): void => {
      copyFileSync(certPath, cert);
      copyFileSync(keyPath, key);
    };
    show(certificates.good);
    const settings = { 'ssl-ca': ours.path, 'ssl-cert': cert, 'ssl-key': key };
    await using server = await startPrivateMysql(engine, { settings });
    const database = await server.createDatabase();
    const refusal = async (ssl: ReturnType<typeof verified>) => {
      const error = await lakeErrorOf(openOn({ ssl }, database));
      return [error.code, error.todo, error.message];
    };
    {
      await using warehouse = await openOn({ ssl: verified(ours) }, database);
      const [row] = await warehouse.run(sql("SHOW STATUS LIKE 'Ssl_cipher'"), never);
      expect(row?.['Value']).toMatch(/\w+/);
    }
    expect(await refusal(verified(theirs))).toEqual(['warehouse_refused', REFUSED, expect.stringMatching(/certificate/i)]);
    // What breaks in the middle of the handshake passes.
    for (const how of ['end', 'reset'] as const) {
      for (const at of [1, 2, 3]) {
        using proxy = await breaking(server.login.port, { at, how, times: 1 });
        const away = { ssl: verified(ours), port: proxy.port };
        const error = await lakeErrorOf(openOn(away, database));
        expect([how, at, error.code, error.message]).toEqual([how, at, 'warehouse_unreachable', expect.any(String)]);
        await using back = await openOn(away, database);
        expect([proxy.broken(), await oneOf(back)]).toEqual([1, '1']);
      }
    }
    for (const [which, words] of [
      ['expired', /expired/i],
      ['elsewhere', /altname|does not match/i],
    ] as const) {
      await server.stop();
      show(certificates[which]);
      await server.start();
      expect(await refusal(verified(ours))).toEqual(['warehouse_refused', REFUSED, expect.stringMatching(words)]);
      await using unverified = await openOn({ ssl: { rejectUnauthorized: false } }, database);
      expect(await oneOf(unverified)).toBe('1');
    }
  });

  test('a server without TLS is refused when it is asked for, never talked to in the clear', async () => {
    // The MariaDB that all share has no certificate.
    await using server = engine === 'mariadb' ? null : await startPrivateMysql(engine, { settings: { 'skip-ssl': '' } });
    await using database = await (server?.createDatabase() ?? testMysql(engine));
    const error = await lakeErrorOf(openOn({ ssl: true }, database));
    expect([error.code, error.todo]).toEqual(['warehouse_refused', REFUSED]);
    expect(error.message).toContain('does not support secure connection');
  });
});
