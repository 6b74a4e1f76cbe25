import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext, Logger } from '../../core/call';
import { reasonOf } from '../../core/errors';
import type { MetricFamily } from '../../core/metric-family';
import { applicationMetrics, collectionMetrics } from '../../core/monitoring/application-metrics';
import type { ApplicationFacts, StorageSizes } from '../../core/monitoring/facts';
import type { WiredApplication } from '../wiring';
import { FactCollector, type RunsOfTemporal } from './collector';
import { addUpStorage } from './storage-sizes';

/** A list of every object costs a request for each thousand: for its growth, a look an hour is enough. */
const SIZED_EVERY_MILLISECONDS = 3_600_000;
/** A collection that takes longer is given up: something hangs that has no deadline of its own. */
const COLLECTED_WITHIN_MILLISECONDS = 600_000;
/** What is older than so many intervals is not told any more: a figure that stopped must not look like one that holds. */
const STALE_AFTER_INTERVALS = 5;

/** The figures of one application, collected in the background. */
export class ApplicationFigures {
  readonly #open: WiredApplication;
  readonly #collector: FactCollector;
  readonly #intervalMilliseconds: number;
  readonly #log: Logger;
  #facts: ApplicationFacts | null = null;
  #storage: StorageSizes | null = null;

  constructor(open: WiredApplication, site: string, runs: RunsOfTemporal, intervalSeconds: number, log: Logger) {
    this.#open = open;
    this.#collector = new FactCollector(open, site, runs);
    this.#intervalMilliseconds = intervalSeconds * 1_000;
    this.#log = log;
  }

  /** The newest facts; null before the first collection, and when they are too old to be told. */
  get facts(): ApplicationFacts | null {
    const facts = this.#facts;
    const isFresh = facts && Date.now() - Date.parse(facts.at) < this.#staleAfterMilliseconds;
    return isFresh ? facts : null;
  }

  get #staleAfterMilliseconds(): number {
    return STALE_AFTER_INTERVALS * this.#intervalMilliseconds;
  }

  families(): MetricFamily[] {
    const { facts } = this;
    const { application } = this.#open;
    return [
      ...(this.#facts ? collectionMetrics(application.name, this.#facts, this.#staleAfterMilliseconds / 1_000) : []),
      ...(facts ? applicationMetrics(application, facts) : []),
    ];
  }

  /** Collects until the signal ends it; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    void this.#size(signal);
    while (!signal.aborted) {
      const next = Date.now() + this.#intervalMilliseconds;
      await this.collect(signal);
      await sleep(Math.max(0, next - Date.now()), undefined, { signal }).catch(() => undefined); // the loop's end
    }
  }

  /** Once. What fails is in the facts, or leaves them as they are, which shows by their age. */
  async collect(signal: AbortSignal): Promise<void> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(COLLECTED_WITHIN_MILLISECONDS)]);
    const ctx: CallContext = { signal: within, log: this.#log, progress() {} };
    try {
      this.#facts = await this.#collector.collect(this.#storage, ctx);
      for (const { part, reason } of this.#facts.problems) {
        this.#log.warn({ part, reason }, 'figures are absent because a part could not be read');
      }
    } catch (error) {
      if (!signal.aborted) this.#log.warn({ reason: reasonOf(error) }, 'the figures could not be collected');
    }
  }

  async #size(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        this.#storage = await addUpStorage(this.#open.repositories);
      } catch (error) {
        this.#log.warn({ reason: reasonOf(error) }, 'the bytes of the repositories could not be added up');
      }
      await sleep(SIZED_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined); // the loop's end
    }
  }
}
