/** An archiver completes a segment every few seconds under load; a lane that is idle for longer is given up. */
const IDLE_MILLISECONDS = 60_000;

/**
 * Lanes for content that is one frame of a known size, such as a WAL segment: used again for the next one. A new buffer of
 * 16 MiB for every segment costs more than compressing it, by page faults and by V8, which looks through the whole heap for
 * every few that are allocated outside of it.
 */
export class SpareLanes<Lane extends { close(): void }> {
  readonly #make: (contentBytes: number) => Lane;
  readonly #most: number;
  readonly #spare: { readonly lane: Lane; readonly contentBytes: number }[] = [];
  #idle: NodeJS.Timeout | undefined;

  /** `most`: how many are kept at the most; more than that may be in use, and are closed after it. */
  constructor(make: (contentBytes: number) => Lane, most: number) {
    this.#make = make;
    this.#most = most;
  }

  /** Runs `use` with a lane that nobody else has until it resolves. One that failed is not used again. */
  async lend<T>(contentBytes: number, use: (lane: Lane) => Promise<T>): Promise<T> {
    const index = this.#spare.findIndex((each) => each.contentBytes === contentBytes);
    const lane = index === -1 ? this.#make(contentBytes) : (this.#spare.splice(index, 1)[0]?.lane as Lane);
    try {
      const result = await use(lane);
      this.#keep(lane, contentBytes);
      return result;
    } catch (error) {
      lane.close();
      throw error;
    }
  }

  #keep(lane: Lane, contentBytes: number): void {
    this.#spare.push({ lane, contentBytes });
    if (this.#spare.length > this.#most) this.#spare.shift()?.lane.close();
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#release(), IDLE_MILLISECONDS).unref();
  }

  #release(): void {
    for (const { lane } of this.#spare.splice(0)) lane.close();
  }
}
