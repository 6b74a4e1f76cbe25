import type { ArchiveOutcome, Engine } from '../../core/engine';
import type { LogArchive } from '../../core/log-archive';
import { testContext } from './engine-harness';
import { waitUntil } from './servers';

/** An archiver as its workflow keeps one: called again when it comes back, until it is stopped. */
export class RunningArchiver {
  readonly gaps: string[] = [];
  offset = 0;
  lineage = '';
  covers = 0;
  #site: string;
  readonly #engine: Engine;
  readonly #log: LogArchive;
  readonly #answered: string[];
  #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #failed: unknown = null;

  constructor(engine: Engine, log: LogArchive, site = 'primary', answered: string[] = []) {
    this.#engine = engine;
    this.#log = log;
    this.#site = site;
    this.#answered = answered;
    this.start();
  }

  /** Where it is not running, or to another site. */
  start(site = this.#site): void {
    this.#site = site;
    this.#stop = new AbortController();
    this.#running = this.#run(this.#stop.signal);
  }

  /** As a worker that is killed: whatever is under way is left. */
  async stop(): Promise<void> {
    this.#stop.abort(new DOMException('stopped by the test', 'AbortError'));
    await this.#running;
    if (this.#failed) throw this.#failed;
  }

  /** Resolves when the archived log covers the instant, in the server's milliseconds. */
  async reaches(at: number): Promise<void> {
    await waitUntil(`the log covering ${new Date(at).toISOString()}`, async () => {
      if (this.#failed) throw this.#failed;
      return this.covers >= at;
    });
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && this.#failed === null) {
      const request = {
        site: this.#site,
        runForMilliseconds: 60_000,
        sliceMilliseconds: 100,
        answeredGaps: this.#answered,
      };
      try {
        this.#take(
          await this.#engine.log!.archive(
            request,
            this.#log,
            ({ coversUntil, durable }) => {
              this.covers = Date.parse(coversUntil ?? '') || this.covers;
              [this.offset, this.lineage] = [Number(durable.value), durable.lineage];
            },
            testContext(signal),
          ),
        );
      } catch (error) {
        if (signal.aborted) return;
        if (!/TargetUnreachable/.test(String((error as { type?: string }).type))) this.#failed = error;
        else await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  #take({ needsBase }: ArchiveOutcome): void {
    if (needsBase === null) return;
    this.gaps.push(needsBase);
    this.#answered.push(needsBase);
  }
}
