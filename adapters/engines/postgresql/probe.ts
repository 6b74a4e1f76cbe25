import type { CallContext } from '../../../core/call';
import type { StoreProbe } from '../../../core/engine';
import { findFailure } from '../../../core/errors';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import { addressOf, withClient } from './connection';
import { lineageOf, positionAt } from './lsn';
import { readFacts, type ServerFacts } from './server-facts';
import type { PostgresqlSite } from './settings';

/** See core/engine.ts `Engine.probe`. */
export async function probe(name: string, site: PostgresqlSite, ctx: CallContext): Promise<StoreProbe> {
  const at = new Date().toISOString();
  try {
    const look = (signal: AbortSignal) =>
      withClient(
        site,
        async (client): Promise<StoreProbe> => {
          const facts = await readFacts(client, addressOf(site));
          const { rows } = await client.query(
            "SELECT current_setting('default_transaction_read_only') = 'off' AS writable",
          );
          return {
            site: name,
            at,
            reachable: true,
            role: facts.inRecovery ? 'replica' : 'primary',
            writable: !facts.inRecovery && (rows[0] as { writable: boolean }).writable,
            identity: facts.systemId,
            serverVersion: facts.version,
            position: positionAt(lineageOf(facts.systemId, facts.timeline), facts.lsn),
            problems: problemsOf(facts),
          };
        },
        { statementMilliseconds: LOOK_MILLISECONDS, signal },
      );
    return await answerWithin(ctx.signal, LOOK_MILLISECONDS, addressOf(site), look);
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    const unknown = { role: 'unknown', writable: null, identity: null, serverVersion: null, position: null } as const;
    // A server that refuses our password is up, but nothing of it can be seen.
    return { site: name, at, reachable: known.code !== 'TargetUnreachable', ...unknown, problems: [known.message] };
  }
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
  if (major >= 17 && settings['summarize_wal'] === 'off') {
    problems.push('summarize_wal is off, so that every backup is full: ALTER SYSTEM SET summarize_wal = on');
  }
  return problems;
}
