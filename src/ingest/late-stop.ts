// How long a run that was told to stop still waits for a server that does not answer.

/** Aborted `graceMs` after `stop`. */
export function lateStop(stop: AbortSignal, graceMs: number): { readonly signal: AbortSignal } & Disposable {
  const late = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const stopping = (): void => {
    timer = setTimeout(() => late.abort(), graceMs);
  };
  stop.addEventListener('abort', stopping, { once: true });
  if (stop.aborted) stopping();
  return {
    signal: late.signal,
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      stop.removeEventListener('abort', stopping);
    },
  };
}
