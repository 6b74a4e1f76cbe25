import { setTimeout as delay } from 'node:timers/promises';
import { createRepository } from '../adapters/repository';
import { layout } from '../core/layout';
import type { Repository } from '../core/repository';
import { Secret } from '../core/secret';
import { STORE } from './product';
import type { Rig } from './rig';

/** How a piece's name says up to where it reaches. */
export interface Reaching<T> {
  /** Null for a name that is none of the log's. */
  readonly endOf: (name: string) => T | null;
  readonly compare: (a: T, b: T) => number;
}

/** How far S3 holds the log, by what is listed there: nobody's word is taken for it. */
export class ArchivedLog<T> {
  private readonly repository: Repository;
  private readonly reaching: Reaching<T>;
  private after: string | null = null;
  private reached: T | null = null;

  constructor({ s3 }: Rig, application: string, reaching: Reaching<T>) {
    this.reaching = reaching;
    const credentials = {
      accessKeyId: new Secret(s3.keys.accessKeyId),
      secretAccessKey: new Secret(s3.keys.secretAccessKey),
    };
    const place = { bucket: s3.buckets.ours, region: s3.region, endpoint: s3.plainEndpoint };
    this.repository = createRepository(
      'bench',
      { kind: 's3', ...place, prefix: '', credentials, storageClass: 'STANDARD' },
      application,
    );
  }

  /** Null while nothing is there. Names are in the log's order. */
  async newest(): Promise<T | null> {
    const from = this.after;
    for await (const { key } of this.repository.list(layout.logs(STORE), from === null ? {} : { after: from })) {
      const to = this.reaching.endOf(key.slice(key.lastIndexOf('/') + 1).replace(/\.zst$/, ''));
      if (to === null) continue;
      this.after = key;
      if (this.reached === null || this.reaching.compare(to, this.reached) > 0) this.reached = to;
    }
    return this.reached;
  }

  async reaches(position: T): Promise<boolean> {
    const newest = await this.newest();
    return newest !== null && this.reaching.compare(newest, position) >= 0;
  }
}

/** A moment (performance.now) and the position that was acknowledged, or seen in S3, then. */
export interface At<T> {
  readonly at: number;
  readonly position: T;
}

/** What S3 lists is looked at this often. */
const LOOK_EVERY_MILLISECONDS = 50;

/** How far S3 holds the log, over time, until the signal. */
export function watchArchived<T>(archived: ArchivedLog<T>, { compare }: Reaching<T>, signal: AbortSignal) {
  const seen: At<T>[] = [];
  const look = async () => {
    while (!signal.aborted) {
      const newest = await archived.newest();
      const last = seen.at(-1)?.position;
      if (newest !== null && (last === undefined || compare(newest, last) > 0))
        seen.push({ at: performance.now(), position: newest });
      await delay(LOOK_EVERY_MILLISECONDS, undefined, { signal }).catch(() => undefined);
    }
    return seen;
  };
  const done = look();
  done.catch(() => undefined); // awaited where the load ends
  return { done, newest: () => seen.at(-1)?.position ?? null };
}

/** From the acknowledgement of each write until S3 was seen to hold it. Throws for one that it never did. */
export function secondsUntilDurable<T>(
  written: readonly At<T>[],
  seen: readonly At<T>[],
  { compare }: Reaching<T>,
): number[] {
  return written.map(({ at, position }) => {
    const covered = seen.find((each) => compare(each.position, position) >= 0);
    if (!covered) throw new Error(`nothing was seen to cover ${JSON.stringify(position)}`);
    return Math.max(0, covered.at - at) / 1_000;
  });
}
