import type { CallContext } from '../../core/call';
import type { Manifest } from '../../core/catalog';
import { layout } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import type { LogReach, LogSpan } from '../../core/retention/log-reach';
import type { Finding, LogRange } from '../../core/verification';
import { holesIn } from '../repository/log-order';

export interface LogLook {
  readonly ranges: readonly LogRange[];
  readonly findings: readonly Finding[];
  readonly pieces: number;
}

interface LookedAt {
  readonly store: string;
  readonly naming: LogNaming;
  /** What a restore of a backup reads of the log, and where replay behind it begins. */
  readonly needs: LogReach['needs'];
  readonly manifests: readonly Manifest[];
  readonly before: readonly LogRange[];
  /** Log that leads to moments before this may have gone with its time, in milliseconds; -Infinity: all of it is kept. */
  readonly keptSince: number;
}

/** Clocks of workers that differ; what retention leaves is a little more. */
const CLOCK_SLACK_MILLISECONDS = 10 * 60_000;

/** Every lineage by its listing: no holes, and nothing gone at its ends since it was looked at before. */
export async function lookAtLog(log: LogArchive, looked: LookedAt, ctx: CallContext): Promise<LogLook> {
  const ranges: LogRange[] = [];
  const findings: Finding[] = [];
  let pieces = 0;
  for (const lineage of (await log.lineages()).toSorted()) {
    ctx.signal.throwIfAborted();
    const entries = await log.entries(lineage);
    const range = rangeOf(lineage, entries, looked.naming);
    if (range === null) continue;
    pieces += entries.length;
    ctx.progress({ phase: 'listing the log', doneItems: pieces });
    ranges.push(range);
    findings.push(...holeFindings(entries, range, looked), ...endFindings(range, looked));
    for (const entry of entries.filter(({ sizeBytes }) => sizeBytes === 0)) {
      findings.push(damage(looked.store, entry.key, 'it is empty', `changes up to ${entry.to.value} are lost`));
    }
  }
  for (const { lineage, firstKey, lastKey, to } of looked.before) {
    if (ranges.some((each) => each.lineage === lineage)) continue;
    const isNeeded = neededOf(lineage, looked).length > 0;
    findings.push({
      ...damage(looked.store, lastKey, `all of the lineage ${lineage} is gone, from ${firstKey} on`, ''),
      severity: isNeeded ? 'damage' : 'notice',
      consequence: isNeeded
        ? `no moment of it up to ${to.value} can be restored`
        : 'nothing: no backup that is there needs it',
    });
  }
  return { ranges, findings, pieces };
}

function rangeOf(lineage: string, entries: readonly LogEntry[], naming: LogNaming): LogRange | null {
  const [first] = entries;
  if (!first) return null;
  const last = entries.reduce((furthest, each) => (naming.compare(each.to, furthest.to) > 0 ? each : furthest), first);
  return {
    ...{ lineage, from: first.from, to: last.to, firstKey: first.key, lastKey: last.key },
    pieces: entries.length,
    holes: holesIn(entries, naming),
  };
}

function holeFindings(entries: readonly LogEntry[], { lineage, holes }: LogRange, looked: LookedAt): Finding[] {
  const { store, naming, manifests, before } = looked;
  const known = new Set(before.find((each) => each.lineage === lineage)?.holes);
  return holes.map((key) => {
    const at = entries.findIndex((each) => each.key === key);
    const behind = entries[at] as LogEntry;
    const ahead = entries
      .slice(0, at)
      .reduce((furthest, each) => (naming.compare(each.to, furthest.to) > 0 ? each : furthest));
    // A gap that was told, and behind which a new full was taken, is history: nobody can mend it any more.
    const isOver = known.has(key) && manifests.some((each) => isBehind(each, behind, naming));
    const isNobodys = isOver || isBetween(ahead, behind, looked);
    return {
      ...damage(store, key, `before it the log from ${ahead.to.value} to ${behind.from.value} is missing`, ''),
      severity: isNobodys ? ('notice' as const) : ('damage' as const),
      consequence: `no moment behind ${ahead.to.value} can be restored from the backups before it (last piece: ${ahead.key})`,
    };
  });
}

function isBehind({ type, lineage, start }: Manifest, entry: LogEntry, naming: LogNaming): boolean {
  return type === 'full' && start !== null && lineage === entry.lineage && naming.compare(start, entry.from) >= 0;
}

/**
 * That all is missing from the last piece that one backup needs to the first that the next one needs, and that the next one is
 * older than the time that the log is kept for: so retention leaves it, where backups are kept for longer than the moments
 * between them. Within that time nothing takes it away.
 */
function isBetween(ahead: LogEntry, behind: LogEntry, looked: LookedAt): boolean {
  const { naming, keptSince } = looked;
  const own = basesOf(looked).filter(({ span }) => span.lineage === ahead.lineage);
  const holds = ({ from, to }: LogEntry, at: LogSpan['from']) =>
    naming.compare(from, at) <= 0 && naming.compare(at, to) <= 0;
  return (
    own.some(({ span }) => holds(ahead, span.to)) &&
    own.some(({ span, at }) => at <= keptSince + CLOCK_SLACK_MILLISECONDS && holds(behind, span.from))
  );
}

interface Base {
  readonly span: LogSpan;
  /** When it is consistent, in milliseconds. */
  readonly at: number;
}

/** Oldest first. */
function basesOf({ manifests, needs }: Pick<LookedAt, 'manifests' | 'needs'>): Base[] {
  return manifests
    .flatMap((each) => {
      const span = needs(each);
      return span ? [{ span, at: Date.parse(each.consistentAt) }] : [];
    })
    .toSorted((a, b) => a.at - b.at);
}

/**
 * What must be there of a lineage: the log that a backup itself needs, and of the time that the log is kept for what follows
 * each backup; the newest backup before that time is where its log begins, as long as the next one is of the same lineage.
 */
function neededOf(lineage: string, looked: LookedAt): (Base & { readonly isItsOwn: boolean })[] {
  const { naming, keptSince } = looked;
  const bases = basesOf(looked);
  const late = bases.findIndex(({ at }) => at > keptSince);
  const anchor = late === -1 ? bases.length - 1 : late - 1;
  return bases.flatMap((base, index) => {
    if (base.span.lineage !== lineage) return [];
    const isItsOwn = naming.compare(base.span.from, base.span.to) < 0;
    const next = bases[index + 1];
    const isPromised = index > anchor || (index === anchor && (!next || next.span.lineage === lineage));
    return isItsOwn || isPromised ? [{ ...base, isItsOwn }] : [];
  });
}

/** The log only grows at its end; what is taken from its beginning is what nothing needs. */
function endFindings(now: LogRange, looked: LookedAt): Finding[] {
  const { store, naming, before } = looked;
  const then = before.find((each) => each.lineage === now.lineage);
  if (!then) return [];
  const findings: Finding[] = [];
  if (naming.compare(now.to, then.to) < 0) {
    const problem = `it is not there any more: the log ends at ${now.to.value}, it reached ${then.to.value}`;
    findings.push(damage(store, then.lastKey, problem, `no moment behind ${now.to.value} can be restored`));
  }
  if (naming.compare(now.from, then.from) > 0) {
    const lost = neededOf(now.lineage, looked).filter(({ span }) => naming.compare(span.from, now.from) < 0);
    const problem = `it is not there any more: the log begins at ${now.from.value}, it began at ${then.from.value}`;
    const consequence = lost.some(({ isItsOwn }) => isItsOwn)
      ? `backups that were begun before ${now.from.value} cannot be restored`
      : `no moment between the backups before ${now.from.value} and the next one can be restored`;
    findings.push({
      ...damage(store, then.firstKey, problem, ''),
      severity: lost.length > 0 ? 'damage' : 'notice',
      consequence: lost.length > 0 ? consequence : 'nothing: no backup needs what was before',
    });
  }
  return findings;
}

/** Files that are kept for ever beside the catalogue, each with its digest. */
export async function lookAtHistory(repository: Repository, log: LogArchive, store: string): Promise<Finding[]> {
  const prefix = layout.history(store);
  const names = new Set<string>();
  for await (const { key } of repository.list(prefix)) names.add(key.slice(prefix.length));
  const findings: Finding[] = [];
  const lost = 'no moment of the timeline that it describes can be restored';
  for (const [name, bytes] of await log.history()) {
    if (bytes instanceof Error) findings.push(damage(store, `${prefix}${name}`, bytes.message, lost));
    else if (!names.has(`${name}.sha256`)) {
      const problem = 'it is not there';
      const consequence = `nothing yet: damage of ${name} would not be noticed`;
      findings.push({ ...damage(store, `${prefix}${name}.sha256`, problem, consequence), severity: 'notice' });
    }
  }
  for (const name of names) {
    const described = name.replace(/\.sha256$/, '');
    if (name === described || names.has(described)) continue;
    findings.push(damage(store, `${prefix}${described}`, `it is not there; ${name} is`, lost));
  }
  return findings;
}

function damage(store: string, key: string, problem: string, consequence: string): Finding {
  return { store, backupId: null, key, severity: 'damage', problem, consequence };
}
