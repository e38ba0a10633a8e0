// Where to listen, as `--http` says it: a host and a port, loopback unless another host is named.

import { LakeError } from '../errors.ts';

export type Listen = { readonly host: string; readonly port: number };

const LOOPBACK = '127.0.0.1';

/** `9464`, `:9464`, `127.0.0.1:9464`, `[::1]:9464`; port 0: any that is free. Throws usage. */
export function parseListen(text: string): Listen {
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[^\s:[\]]*):)?(\d{1,5})$/.exec(text.trim());
  const port = Number(match?.[2]);
  if (!match || port > 65_535) {
    throw new LakeError('usage', `--http is ${JSON.stringify(text)}; it takes <host>:<port>, as in 127.0.0.1:9464`);
  }
  return { host: match[1]?.replace(/^\[|\]$/g, '') || LOOPBACK, port };
}
