// Certificates made by openssl when a test needs them: authorities, and servers that one of them vouches for.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type Authority = { readonly folder: string; readonly path: string; readonly pem: string };
export type Certificate = { readonly certPath: string; readonly keyPath: string };

function openssl(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(['openssl', ...args], { stdout: 'pipe', stderr: 'pipe' });
  if (exitCode !== 0) throw new Error(`openssl ${args[0]}: ${stderr}`);
}

const newKey = (path: string): void => openssl('genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', path);

export function makeAuthority(folder: string, name: string): Authority {
  mkdirSync(folder, { recursive: true });
  const [path, key] = [join(folder, 'ca.pem'), join(folder, 'ca-key.pem')];
  newKey(key);
  openssl('req', '-x509', '-new', '-key', key, '-days', '30', '-subj', `/CN=${name}`, '-out', path);
  // For `openssl ca`, the one command that takes both ends of a validity.
  writeFileSync(join(folder, 'index.txt'), '');
  writeFileSync(
    join(folder, 'ca.cnf'),
    `[ca]\ndefault_ca=it\n[it]\ndatabase=${folder}/index.txt\nnew_certs_dir=${folder}\nrand_serial=yes\ndefault_md=sha256
policy=any\nunique_subject=no\n[any]\ncommonName=supplied\n`,
  );
  return { folder, path, pem: readFileSync(path, 'utf8') };
}

/** `altName` as openssl has it: `IP:127.0.0.1` or `DNS:example.org`. */
export function makeCertificate(
  by: Authority,
  name: string,
  { altName, expired = false }: { altName: string; expired?: boolean },
) {
  const at = (end: string): string => join(by.folder, `${name}${end}`);
  newKey(at('-key.pem'));
  openssl('req', '-new', '-key', at('-key.pem'), '-subj', `/CN=${name}`, '-out', at('.csr'));
  writeFileSync(at('.ext'), `subjectAltName=${altName}\n`);
  const year = new Date().getUTCFullYear();
  const [from, to] = expired ? ['20200101000000Z', '20210101000000Z'] : [`${year - 1}0101000000Z`, `${year + 1}1231000000Z`];
  const authority = ['-config', join(by.folder, 'ca.cnf'), '-keyfile', join(by.folder, 'ca-key.pem'), '-cert', by.path];
  const what = ['-in', at('.csr'), '-out', at('.pem'), '-extfile', at('.ext'), '-startdate', from, '-enddate', to];
  openssl('ca', '-batch', '-notext', ...authority, ...what);
  return { certPath: at('.pem'), keyPath: at('-key.pem') } satisfies Certificate;
}
