import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { CallContext } from '../../../core/call';
import { clientConfig, useAndEnd, withClient } from './connection';
import { parseLsn } from './lsn';
import { ensureSchema, SCHEMA } from './schema';
import type { PostgresqlSite } from './settings';

const BEAT_MILLISECONDS = 1_000;

/**
 * A row that is updated every second. It gives an idle server a commit to replay up to, a standby the primary's clock, and
 * the archiver the instant up to which what it stored is complete.
 */
export class Heartbeat {
  private readonly site: PostgresqlSite;
  private readonly ctx: CallContext;
  private readonly stopping = new AbortController();
  private readonly running: Promise<void>;
  /** Beats not yet known to be durable in the archive, oldest first. */
  private beats: { readonly at: string; readonly lsn: bigint }[] = [];
  private covered: string | null;

  private constructor(site: PostgresqlSite, coveredBefore: string | null, ctx: CallContext) {
    this.site = site;
    this.ctx = ctx;
    this.covered = coveredBefore;
    this.running = this.run();
  }

  /** Creates the schema and starts to beat. `coveredBefore` holds until a newer beat is durable. */
  static async start(site: PostgresqlSite, coveredBefore: string | null, ctx: CallContext): Promise<Heartbeat> {
    await withClient(site, ensureSchema, { signal: ctx.signal });
    return new Heartbeat(site, coveredBefore, ctx);
  }

  /**
   * The newest instant up to which every commit lies before `lsn`. A beat's instant is when its transaction began: its own
   * commit is strictly later, so that replay to that instant always finds a commit after it to stop at.
   */
  coveredBy(lsn: bigint): string | null {
    const durable = this.beats.filter((beat) => beat.lsn <= lsn);
    this.covered = durable.at(-1)?.at ?? this.covered;
    this.beats = this.beats.filter((beat) => beat.lsn > lsn);
    return this.covered;
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        await useAndEnd(new Client(clientConfig(this.site)), (client) => this.beat(client), this.stopping.signal);
      } catch (error) {
        // Losing a beat only leaves `coversUntil` where it is, which is what an outage must look like; the archiver's own
        // connection reports the outage.
        if (!this.stopping.signal.aborted)
          this.ctx.log.warn({ error: String(error) }, 'the heartbeat row could not be updated');
        await sleep(BEAT_MILLISECONDS, undefined, { signal: this.stopping.signal }).catch(() => undefined);
      }
    }
  }

  private async beat(client: Client): Promise<void> {
    // Without this a beat would wait for a synchronous standby that is gone, and the archive's clock with it.
    await client.query('SET synchronous_commit = local');
    for (;;) {
      const { rows } = await client.query(
        `INSERT INTO ${SCHEMA}.heartbeat AS h VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING h.at`,
      );
      // Asked after the commit: the commit record lies before it.
      const after = await client.query('SELECT pg_current_wal_insert_lsn()::text AS lsn');
      const at = (rows[0] as { at: Date }).at.toISOString();
      this.beats.push({ at, lsn: parseLsn((after.rows[0] as { lsn: string }).lsn) });
      await sleep(BEAT_MILLISECONDS, undefined, { signal: this.stopping.signal });
    }
  }
}
