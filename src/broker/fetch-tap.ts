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

export function createFetchTap(hooks: Omit<FetchHooks, 'onRecords' | 'onEnd'>): FetchTap {
  const waiting = new Map<bigint, Fetched>();
  const ends = new Map<string, bigint>();
  const onEnd = (topic: string, partition: number, end: bigint): void => {
    const key = `${topic}:${partition}`;
    const before = ends.get(key) ?? end;
    ends.set(key, end);
    if (end < before) hooks.onOutOfRange(topic, partition);
  };
  let nextTicket = 1n;
  const forget = (held: bigint[]): void => {
    for (const ticket of held.splice(0)) waiting.delete(ticket);
  };
  const rewrite = (frame: Buffer, version: number, connection: Connection): Buffer => {
    // kafkajs asks a broker for more only when it has handled all it got: earlier tickets of this connection are void.
    forget(connection.held);
    const mine = connection.responses;
    return rewriteFetchResponse(frame, version, {
      onRecords: (records) => {
        const ticket = nextTicket++;
        const isCurrent = (): boolean => connection.responses === mine;
        const isLast = (): boolean => !connection.held.some((held) => waiting.has(held));
        waiting.set(ticket, { ...records, isCurrent, isLast });
        connection.held.push(ticket);
        return ticket;
      },
      ...hooks,
      onEnd,
    });
  };
  return {
    socketFactory: ({ host, port, ssl, onConnect }) => {
      const options = { host, port, ...(net.isIP(host) ? {} : { servername: host }), ...ssl };
      const socket = ssl ? tls.connect(options, onConnect) : net.connect({ host, port }, onConnect);
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      tapSocket(socket, { rewrite, forget });
      return socket;
    },
    take: (ticket) => {
      const fetched = waiting.get(ticket) ?? null;
      waiting.delete(ticket);
      return fetched;
    },
  };
}

/** What is remembered of a connection. */
type Connection = {
  /** Versions of the fetches under way, by correlation id. */
  readonly fetches: Map<number, number>;
  readonly held: bigint[];
  /** Fetch responses begun; the bytes of the one before are void from then on. */
  responses: number;
  /** Used for every fetch response: megabytes of garbage a response would be collected too late. */
  buffer: Buffer;
};

/** Watches requests for fetches and hands kafkajs whole frames, those of fetches rewritten. */
function tapSocket(
  socket: net.Socket,
  tap: { rewrite: (frame: Buffer, version: number, connection: Connection) => Buffer; forget: (held: bigint[]) => void },
): void {
  const connection: Connection = { fetches: new Map(), held: [], responses: 0, buffer: Buffer.alloc(0) };
  // A response that is none of a form known here goes to kafkajs as it came, in bytes of its own.
  const rewritten = (frame: Buffer, version: number): Buffer => {
    try {
      return tap.rewrite(frame, version, connection);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return Buffer.from(frame);
    }
  };
  socket.once('close', () => tap.forget(connection.held));
  const { fetches } = connection;
  const write = socket.write.bind(socket) as (data: Buffer, ...rest: unknown[]) => boolean;
  const tappedWrite = (data: Buffer, ...rest: unknown[]): boolean => {
    if (Buffer.isBuffer(data) && data.length >= 12 && data.readInt16BE(4) === FETCH_API_KEY) {
      const version = data.readInt16BE(6);
      if (version >= FETCH_VERSION_MIN && version <= FETCH_VERSION_MAX) fetches.set(data.readInt32BE(8), version);
    }
    return write(data, ...rest);
  };
  const bufferFor = (bytes: number, correlationId: number): Buffer => {
    if (!fetches.has(correlationId)) return Buffer.allocUnsafeSlow(bytes);
    connection.responses++;
    if (connection.buffer.length < bytes) connection.buffer = Buffer.allocUnsafeSlow(Math.max(bytes, BUFFER_BYTES_MIN));
    if (connection.buffer.length > BUFFER_BYTES_KEPT && bytes <= BUFFER_BYTES_KEPT)
      connection.buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES_KEPT);
    return connection.buffer.subarray(0, bytes);
  };
  const on = socket.on.bind(socket) as (event: string, listener: (...args: never[]) => void) => net.Socket;
  const tappedOn = (event: string, listener: (...args: never[]) => void): net.Socket => {
    if (event !== 'data') return on(event, listener);
    const deliver = listener as unknown as (frame: Buffer) => void;
    const assemble = frameAssembler(bufferFor, (frame) => {
      const version = frame.length >= PREFIX_BYTES ? fetches.get(frame.readInt32BE(4)) : undefined;
      if (version === undefined) return deliver(frame);
      fetches.delete(frame.readInt32BE(4));
      deliver(rewritten(frame, version));
    });
    return on('data', assemble as (...args: never[]) => void);
  };
  Object.assign(socket, { write: tappedWrite, on: tappedOn });
}

/** Length and correlation id. */
const PREFIX_BYTES = 8;
const BUFFER_BYTES_MIN = 64 * 1024;
/** A single huge message must not keep its size in memory for ever. */
const BUFFER_BYTES_KEPT = 8 * 1024 * 1024;

/** Collects chunks into frames (int32 length, then that many bytes), each copied once into the buffer that `bufferFor` gives. */
export function frameAssembler(
  bufferFor: (bytes: number, correlationId: number) => Buffer,
  onFrame: (frame: Buffer) => void,
): (chunk: Buffer) => void {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  let prefixBytes = 0;
  let frame: Buffer | null = null;
  let filled = 0;
  const begin = (): void => {
    const bytes = 4 + Math.max(0, prefix.readInt32BE(0));
    // A frame of less than a correlation id is no response of ours to look into; kafkajs is given it as it is.
    frame = bytes < PREFIX_BYTES ? Buffer.allocUnsafeSlow(bytes) : bufferFor(bytes, prefix.readInt32BE(4));
    prefix.copy(frame, 0, 0, prefixBytes);
    filled = prefixBytes;
    prefixBytes = 0;
  };
  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (!frame) {
        const wanted = prefixBytes < 4 ? 4 : Math.min(PREFIX_BYTES, 4 + Math.max(0, prefix.readInt32BE(0)));
        const taken = chunk.copy(prefix, prefixBytes, at, at + wanted - prefixBytes);
        prefixBytes += taken;
        at += taken;
        if (prefixBytes < 4) return;
        const whole = Math.min(PREFIX_BYTES, 4 + Math.max(0, prefix.readInt32BE(0)));
        if (prefixBytes < whole) continue;
        begin();
      }
      const current: Buffer = frame ?? Buffer.alloc(0);
      const taken = chunk.copy(current, filled, at);
      filled += taken;
      at += taken;
      if (filled < current.length) return;
      frame = null;
      onFrame(current);
    }
  };
}
