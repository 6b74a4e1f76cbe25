import type { CallContext } from '../../core/call';
import type { Manifest } from '../../core/catalog';
import { layout } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';
import type { Position } from '../../core/positions';
import type { Repository } from '../../core/repository';
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
  readonly manifests: readonly Manifest[];
  readonly before: readonly LogRange[];
}

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
    const isNeeded = looked.manifests.some((each) => each.lineage === lineage);
    findings.push({
      ...damage(looked.store, lastKey, `all of the lineage ${lineage} is gone, from ${firstKey} on`, ''),
      severity: isNeeded ? 'damage' : 'notice',
      consequence: isNeeded ? `no moment of it up to ${to.value} can be restored` : 'nothing: no backup belongs to it',
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
    const isNobodys = isOver || isBetween(manifests, ahead, behind, naming);
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
 * That all is missing from the last piece that one backup needs to the first that the next one needs: so retention leaves it,
 * where backups are kept for longer than the moments between them.
 */
function isBetween(manifests: readonly Manifest[], ahead: LogEntry, behind: LogEntry, naming: LogNaming): boolean {
  const own = manifests.filter(({ lineage }) => lineage === ahead.lineage);
  const holds = ({ from, to }: LogEntry, at: Position) => naming.compare(from, at) <= 0 && naming.compare(at, to) <= 0;
  return (
    own.some(({ stop }) => stop !== null && holds(ahead, stop)) &&
    own.some(({ start }) => start !== null && holds(behind, start))
  );
}

/** The log only grows at its end; what is taken from its beginning is what no backup needs. */
function endFindings(now: LogRange, { store, naming, manifests, before }: LookedAt): Finding[] {
  const then = before.find((each) => each.lineage === now.lineage);
  if (!then) return [];
  const findings: Finding[] = [];
  if (naming.compare(now.to, then.to) < 0) {
    const problem = `it is not there any more: the log ends at ${now.to.value}, it reached ${then.to.value}`;
    findings.push(damage(store, then.lastKey, problem, `no moment behind ${now.to.value} can be restored`));
  }
  if (naming.compare(now.from, then.from) > 0) {
    const needed = manifests.some(
      ({ lineage, start }) => lineage === now.lineage && start !== null && naming.compare(start, now.from) < 0,
    );
    const problem = `it is not there any more: the log begins at ${now.from.value}, it began at ${then.from.value}`;
    findings.push({
      ...damage(store, then.firstKey, problem, ''),
      severity: needed ? 'damage' : 'notice',
      consequence: needed
        ? `backups that were begun before ${now.from.value} cannot be restored`
        : 'nothing: no backup needs what was before',
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
