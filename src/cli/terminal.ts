// What a command is given of the outside world: where to print, what time it is, when to stop.

import type { Ask } from './ask.ts';

export type Terminal = {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: {
    write(text: string): void;
    /** Resolves when the reader has room for more. Rejects with EPIPE when it has gone. */
    send(bytes: Uint8Array): Promise<void>;
    readonly isTerminal: boolean;
    rows(): number;
  };
  /** All of it, as UTF-8. */
  readonly stdin: () => Promise<string>;
  /** null: nobody sits there who could answer. */
  readonly ask: Ask | null;
  readonly stderr: { write(text: string): void; readonly isTerminal: boolean; columns(): number };
  readonly nowMs: () => number;
  readonly newId: () => string;
  /** Stop gracefully. */
  readonly stop: AbortSignal;
  /** Stop at once. */
  readonly abort: AbortSignal;
  /** Calls back at every SIGHUP; until then, and afterwards, it ends the process. */
  readonly onHangup: (listener: () => void) => Disposable;
  /** Frees what is unreachable, now; null where that cannot be asked for. */
  readonly collectGarbage: (() => void) | null;
};
