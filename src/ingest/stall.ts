// Notices a run that has something left to read and gets nowhere.

/** DESIGN §3: `--until-caught-up` gives up after this long without progress. */
export const STALLED_MS_MAX = 5 * 60_000;

export class Stall {
  private sinceMs: number;
  private left = -1n;
  private messages = -1;

  constructor(nowMs: number) {
    this.sinceMs = nowMs;
  }

  /** Asked regularly; any change of what is left or done counts as progress. */
  isStalled(now: { left: bigint; messages: number; nowMs: number }): boolean {
    if (now.left !== this.left || now.messages !== this.messages) {
      this.left = now.left;
      this.messages = now.messages;
      this.sinceMs = now.nowMs;
    }
    return now.left > 0n && now.nowMs - this.sinceMs > STALLED_MS_MAX;
  }
}
