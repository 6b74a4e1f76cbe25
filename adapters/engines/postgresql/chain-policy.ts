import type { Client } from 'pg';
import { chainOf, type Manifest } from '../../../core/catalog';
import { formatLsn, lineageOf, parseLsn } from './lsn';
import type { ServerFacts } from './server-facts';
import type { PostgresqlSettings } from './settings';

/** The backup that an incremental builds on, or why none can be: then a full is taken. */
export type ParentChoice = { readonly parent: Manifest } | { readonly why: string };

/**
 * An incremental continues the chain of the newest backup, or nothing: PostgreSQL 17, WAL summaries since that backup at
 * the server that is read, the same cluster, timeline and checksum mode. `facts` are of the server that is read.
 */
export async function chooseParent(
  client: Client,
  facts: ServerFacts,
  existing: readonly Manifest[],
  { maximumIncrements }: Pick<PostgresqlSettings, 'maximumIncrements'>,
): Promise<ParentChoice> {
  if (facts.major < 17) return { why: `PostgreSQL ${facts.major} has no incremental backups (17 has)` };
  if (facts.settings['summarize_wal'] !== 'on') {
    return { why: 'summarize_wal is off: ALTER SYSTEM SET summarize_wal = on' };
  }
  const parent = existing.at(-1);
  if (!parent) return { why: 'there is no backup to build on' };
  const why =
    whyChainEnds(parent, existing, maximumIncrements) ??
    whyOtherServer(parent, facts) ??
    (await whyNotSummarized(client, parent, facts));
  return why === null ? { parent } : { why };
}

function whyChainEnds(parent: Manifest, existing: readonly Manifest[], maximumIncrements: number): string | null {
  const chain = chainOf(parent, existing);
  if (chain === null) return `${parent.backupId} builds on a backup that is missing or cannot be read`;
  const increments = chain.length - 1;
  if (increments >= maximumIncrements) {
    return `the chain up to ${parent.backupId} has ${increments} increments (maximumIncrements is ${maximumIncrements})`;
  }
  if (!parent.early.some((each) => each.name === 'backup_manifest')) return `${parent.backupId} has no backup_manifest`;
  return null;
}

function whyOtherServer(parent: Manifest, facts: ServerFacts): string | null {
  if (parent.identity !== facts.systemId) return `${parent.backupId} is of another cluster`;
  if (parent.lineage !== lineageOf(facts.systemId, facts.timeline)) {
    return `the timeline has changed since ${parent.backupId}`;
  }
  // pg_checksums rewrites pages without a trace in the WAL, and pg_combinebackup would mix both kinds (its documentation).
  const [before, now] = [parent.detail['dataChecksums'], facts.settings['data_checksums']];
  if (before === undefined) return `${parent.backupId} does not say whether its pages have checksums`;
  if (before !== now) return `data checksums were turned ${now} since ${parent.backupId}`;
  return null;
}

interface Summary {
  readonly start_lsn: string;
  readonly end_lsn: string;
}

/** The server needs a summary of every byte of WAL between the starts of both backups, or refuses after it was asked. */
async function whyNotSummarized(client: Client, parent: Manifest, facts: ServerFacts): Promise<string | null> {
  if (!parent.start) return `${parent.backupId} does not say where it began`;
  const { rows } = await client.query(
    'SELECT start_lsn::text, end_lsn::text FROM pg_available_wal_summaries() s WHERE tli = $1 AND end_lsn > $2 ORDER BY s.start_lsn',
    [facts.timeline, parent.start.value],
  );
  const gone = (from: bigint, to: string) => `WAL summaries from ${formatLsn(from)} to ${to} are gone`;
  let summarized = parseLsn(parent.start.value);
  for (const { start_lsn: start, end_lsn: end } of rows as Summary[]) {
    if (parseLsn(start) > summarized) return `${gone(summarized, start)}, and ${parent.backupId} needs them`;
    if (parseLsn(end) > summarized) summarized = parseLsn(end);
  }
  // What is not summarized yet will be when the backup begins; what was summarized and is in no file was removed.
  const state = await client.query('SELECT summarized_lsn::text AS lsn FROM pg_get_wal_summarizer_state()');
  const lsn = (state.rows[0] as { lsn: string }).lsn;
  if (lsn === '0/0') return 'the server has summarized no WAL yet';
  return parseLsn(lsn) > summarized ? `${gone(summarized, lsn)}, and ${parent.backupId} needs them` : null;
}
