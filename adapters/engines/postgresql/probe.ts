import type { CallContext } from '../../../core/call';
import type { StoreProbe } from '../../../core/engine';
import { findFailure } from '../../../core/errors';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { addressOf, withClient } from './connection';
import { lookAtSlot } from './log-slot';
import { lineageOf, positionAt } from './lsn';
import { readFacts, type ServerFacts } from './server-facts';
import type { PostgresqlSite } from './settings';
import { synchronousProblems } from './synchronous-names';

/** See core/engine.ts `Engine.probe`. */
export async function probe(name: string, site: PostgresqlSite, slot: string, ctx: CallContext): Promise<StoreProbe> {
  const at = new Date().toISOString();
  try {
    const ask = (signal: AbortSignal) =>
      withClient(
        site,
        async (client): Promise<StoreProbe> => {
          const facts = await readFacts(client, addressOf(site));
          const { rows } = await client.query(
            "SELECT current_setting('default_transaction_read_only') = 'off' AS writable",
          );
          const look = facts.inRecovery ? null : await lookAtSlot(client, slot, facts);
          const synchronous = facts.settings['synchronous_standby_names'] ?? '';
          const counted = facts.inRecovery ? [] : await synchronousProblems(client, synchronous);
          const keepSeconds = summariesKeptSeconds(facts);
          return {
            site: name,
            at,
            reachable: true,
            role: facts.inRecovery ? 'replica' : 'primary',
            writable: !facts.inRecovery && (rows[0] as { writable: boolean }).writable,
            identity: facts.systemId,
            serverVersion: facts.version,
            position: positionAt(lineageOf(facts.systemId, facts.timeline), facts.lsn),
            problems: [...problemsOf(facts), ...(look?.problems ?? []), ...counted],
            ...(look ? { keptLog: look.keptLog } : {}),
            ...(keepSeconds === null ? {} : { incrementalWithinSeconds: keepSeconds }),
          };
        },
        { statementMilliseconds: LOOK_MILLISECONDS, signal },
      );
    return await answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), ask);
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    const unknown = { role: 'unknown', writable: null, identity: null, serverVersion: null, position: null } as const;
    // A server that refuses our password is up, but nothing of it can be seen.
    return { site: name, at, reachable: known.code !== 'TargetUnreachable', ...unknown, problems: [known.message] };
  }
}

/** An outage of the archiver's host that lasts a day is one that people know of. */
const SHORT_IDLE_SECONDS = 86_400;

/** How long WAL summaries are kept; null where there are none, or without end. */
function summariesKeptSeconds({ settings, major }: ServerFacts): number | null {
  const minutes = Number(settings['wal_summary_keep_time'] ?? 0);
  return major >= 17 && settings['summarize_wal'] === 'on' && minutes > 0 ? minutes * 60 : null;
}

function problemsOf({ settings, major }: ServerFacts): string[] {
  const problems: string[] = [];
  if (settings['wal_level'] === 'minimal')
    problems.push('wal_level is minimal: ALTER SYSTEM SET wal_level = replica, then restart');
  if (settings['full_page_writes'] === 'off')
    problems.push('full_page_writes is off: ALTER SYSTEM SET full_page_writes = on');
  if (settings['data_checksums'] === 'off')
    problems.push('data_checksums is off: damaged pages go unnoticed (pg_checksums --enable)');
  if (settings['max_slot_wal_keep_size'] === '-1') {
    problems.push(
      'max_slot_wal_keep_size is -1: an archiver that is down long fills the disk (ALTER SYSTEM SET max_slot_wal_keep_size)',
    );
  }
  const idleSeconds = Number(settings['idle_replication_slot_timeout'] ?? 0);
  if (idleSeconds > 0 && idleSeconds < SHORT_IDLE_SECONDS) {
    problems.push(
      `idle_replication_slot_timeout is ${idleSeconds} s: an archiver that is down longer loses its slot (0 turns it off)`,
    );
  }
  if (major >= 17 && settings['summarize_wal'] === 'off') {
    problems.push('summarize_wal is off, so that every backup is full: ALTER SYSTEM SET summarize_wal = on');
  }
  return problems;
}
