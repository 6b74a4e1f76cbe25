import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { RestoredStore } from '../../../core/recovery';
import { OWN_DATABASE } from './lineage';
import { withRestored } from './restored-server';

const WRITER = 'archiver';
const beatsOf = (client: MongoClient) => client.db(OWN_DATABASE).collection<Beat>('heartbeat');

interface Beat {
  readonly _id: string;
  readonly at?: Date;
}

/** Each second: the archived log of an idle store then says "nothing happened" up to a second ago, instead of nothing. */
const INTERVAL_MILLISECONDS = 1_000;

export interface Heartbeat {
  /** Why the last one failed, null when it did not. */
  problem(): string | null;
  stop(): Promise<void>;
}

/** Writes the server's time with majority concern. A failed beat is told, not thrown: archiving goes on without it. */
export function startHeartbeat(client: MongoClient, ctx: CallContext): Heartbeat {
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, ctx.signal]);
  let problem: string | null = null;
  const beats = beatsOf(client);
  const run = async () => {
    while (!signal.aborted) {
      try {
        const concern = { w: 'majority' as const, wtimeoutMS: 5_000 };
        await beats.updateOne({ _id: WRITER }, [{ $set: { at: '$$NOW' } }], {
          upsert: true,
          writeConcern: concern,
        });
        problem = null;
      } catch (error) {
        // The covered range just stops growing, which the status shows; the log itself is archived all the same.
        problem = error instanceof Error ? error.message : String(error);
        ctx.log.warn({ problem }, 'the heartbeat was not written');
      }
      await delay(INTERVAL_MILLISECONDS, undefined, { signal }).catch(() => {});
    }
  };
  const running = run();
  return {
    problem: () => problem,
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

/** The one that a restored copy holds; null where none had been written. */
export async function restoredHeartbeat({ address }: RestoredStore): Promise<string | null> {
  if (!address) return null;
  const beat = await withRestored(address, (client) => beatsOf(client).findOne({ _id: WRITER }));
  return beat?.at?.toISOString() ?? null;
}
