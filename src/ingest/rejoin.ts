// A membership that cannot go on is given up for a new one: when kafkajs gives up on a Kafka that went away, and when a topic
// of the subscription is gone, which would keep kafkajs from reading the others too.
// Invariant: one rejoin at a time; what was staged is dropped by the next assignment, positions say where to go on.

import { kafkaError } from '../broker/client.ts';
import type { GroupConsumer } from '../broker/consumer.ts';
import type { KafkaConfig } from '../config/config.ts';
import { LakeError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { Changes } from './changes.ts';
import type { PipelineHealth } from './readiness.ts';

export type RejoinOptions = {
  readonly kafka: KafkaConfig;
  readonly consumer: () => GroupConsumer;
  /** Puts a new consumer, of the feeds that are left, in the place of the one before. */
  readonly renew: () => void;
  /** Stops the feeds whose topic is gone; how many there were. */
  readonly stopMissing: () => Promise<number>;
  /** Nothing is to be read any more. */
  readonly over: () => boolean;
  readonly die: (error: unknown) => void;
  readonly changes: Changes;
  readonly log: Log;
  readonly health: Pick<PipelineHealth, 'kafkaLost'>;
};

const ASK_AGAIN_MS = 1_000;

export class Rejoin {
  private readonly options: RejoinOptions;
  private busy = false;
  /** What came while another rejoin was under way. */
  private next: (() => Promise<void>) | null = null;

  constructor(options: RejoinOptions) {
    this.options = options;
  }

  /** Joins for the first time. Never throws. */
  async begin(): Promise<void> {
    const { consumer, over, die } = this.options;
    try {
      await consumer().run();
    } catch (error) {
      if (!over()) die(error);
    }
  }

  /** The broker says it has no such topic; after a restart that passes, so Kafka is asked. */
  unknownTopic(): void {
    if (this.busy) return;
    this.alone(async () => {
      if ((await this.options.stopMissing()) > 0) await this.rejoin();
    });
  }

  /** kafkajs gave up, or (`restarting`) tries again by itself. */
  crashed(cause: Error, restarting: boolean): void {
    const { die, kafka, log, health } = this.options;
    log.warn('consumer_crashed', { restarting, reason: cause.message });
    health.kafkaLost(cause.message);
    if (restarting) return;
    const error = kafkaError(cause, kafka, 'reading');
    if (!error.retriable) die(error);
    else this.alone(() => this.rejoin());
  }

  /** With the feeds there are now, in the place of those there were. */
  renewed(): void {
    this.alone(() => this.rejoin());
  }

  private async rejoin(): Promise<void> {
    const { changes, consumer, log, over, renew } = this.options;
    for (let attempt = 1; ; attempt++) {
      await consumer()
        .stop()
        .catch(() => undefined);
      if (over()) return;
      renew();
      try {
        await consumer().run();
        return;
      } catch (error) {
        if (!(error instanceof LakeError) || !error.retriable) throw error;
        log.warn('kafka_waited_for', { attempt, code: error.code, reason: error.message });
        await changes.after(ASK_AGAIN_MS);
      }
    }
  }

  private alone(work: () => Promise<void>): void {
    if (this.busy) {
      this.next = work;
      return;
    }
    this.busy = true;
    work()
      .catch((error) => {
        // A Kafka that is away is met again by the consumer itself.
        if (!(error instanceof LakeError) || !error.retriable) this.options.die(error);
      })
      .finally(() => {
        this.busy = false;
        const { next } = this;
        this.next = null;
        if (next) this.alone(next);
      });
  }
}
