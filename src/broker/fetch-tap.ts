// Takes the record sets out of Kafka's fetch responses before kafkajs turns every record into an object, and leaves in their
// place one small record that carries a ticket. kafkajs keeps what it is good at (group, metadata, fetching, retries, TLS,
// SASL); the records are read by record-batch.ts, at a tenth of the cost and without kafkajs' mistakes (a key of four zero
// bytes taken for an abort marker; a filtered batch without its fetched offset). docs/decisions/0005 has the figures.
// Invariant: whatever is not a well-formed fetch response of a known version passes through untouched.

import net from 'node:net';
import tls from 'node:tls';
import type { ISocketFactory } from 'kafkajs';
import { type Fetched, type FetchHooks, rewriteFetchResponse } from './fetch-response.ts';

const FETCH_API_KEY = 1;
const FETCH_VERSION_MIN = 4;
const FETCH_VERSION_MAX = 11;
const KEEP_ALIVE_MS = 60_000;

/** The record sets of the latest fetch response of each connection, by ticket. */
export type FetchTap = {
  readonly socketFactory: ISocketFactory;
  /** The record set behind a ticket, once; null when it is gone, which only a refetch mends. */
  take(ticket: bigint): Fetched | null;
};

export function createFetchTap(hooks: Omit<FetchHooks, 'onRecords'>): FetchTap {
  const waiting = new Map<bigint, Fetched>();
  let nextTicket = 1n;
  const rewrite = (frame: Buffer, version: number, held: bigint[]): Buffer => {
    // kafkajs asks a broker for more only when it has handled all it got: earlier tickets of this connection are void.
    for (const ticket of held.splice(0)) waiting.delete(ticket);
    return rewriteFetchResponse(frame, version, {
      ...hooks,
      onRecords: (fetched) => {
        const ticket = nextTicket++;
        waiting.set(ticket, fetched);
        held.push(ticket);
        return ticket;
      },
    });
  };
  return {
    socketFactory: ({ host, port, ssl, onConnect }) => {
      const options = { host, port, ...(net.isIP(host) ? {} : { servername: host }), ...ssl };
      const socket = ssl ? tls.connect(options, onConnect) : net.connect({ host, port }, onConnect);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      tapSocket(socket, rewrite);
      return socket;
    },
    take: (ticket) => {
      const fetched = waiting.get(ticket) ?? null;
      waiting.delete(ticket);
      return fetched;
    },
  };
}

/** Watches requests for fetches and hands kafkajs whole frames, those of fetches rewritten. */
function tapSocket(socket: net.Socket, rewrite: (frame: Buffer, version: number, held: bigint[]) => Buffer): void {
  const fetches = new Map<number, number>();
  const held: bigint[] = [];
  const write = socket.write.bind(socket) as (data: Buffer, ...rest: unknown[]) => boolean;
  const tappedWrite = (data: Buffer, ...rest: unknown[]): boolean => {
    if (Buffer.isBuffer(data) && data.length >= 12 && data.readInt16BE(4) === FETCH_API_KEY) {
      const version = data.readInt16BE(6);
      if (version >= FETCH_VERSION_MIN && version <= FETCH_VERSION_MAX) fetches.set(data.readInt32BE(8), version);
    }
    return write(data, ...rest);
  };
  const on = socket.on.bind(socket) as (event: string, listener: (...args: never[]) => void) => net.Socket;
  const tappedOn = (event: string, listener: (...args: never[]) => void): net.Socket => {
    if (event !== 'data') return on(event, listener);
    const deliver = listener as unknown as (frame: Buffer) => void;
    const assemble = frameAssembler((frame) => {
      const version = frame.length >= 8 ? fetches.get(frame.readInt32BE(4)) : undefined;
      if (version === undefined) return deliver(frame);
      fetches.delete(frame.readInt32BE(4));
      deliver(rewrite(frame, version, held));
    });
    return on('data', assemble as (...args: never[]) => void);
  };
  Object.assign(socket, { write: tappedWrite, on: tappedOn });
}

/** Collects chunks into frames (int32 length, then that many bytes), each copied once into a buffer of its own. */
export function frameAssembler(onFrame: (frame: Buffer) => void): (chunk: Buffer) => void {
  const prefix = Buffer.alloc(4);
  let prefixBytes = 0;
  let frame: Buffer | null = null;
  let filled = 0;
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (!frame) {
        const taken = chunk.copy(prefix, prefixBytes, at, at + 4 - prefixBytes);
        prefixBytes += taken;
        at += taken;
        if (prefixBytes < 4) return;
        frame = Buffer.allocUnsafeSlow(4 + Math.max(0, prefix.readInt32BE(0)));
        prefix.copy(frame);
        filled = 4;
        prefixBytes = 0;
      }
      const taken = chunk.copy(frame, filled, at);
      filled += taken;
      at += taken;
      if (filled < frame.length) return;
      const whole = frame;
      frame = null;
      onFrame(whole);
    }
  };
}
