import { formatBytes } from '../clock';
import { alarming } from '../readiness';
import type { ReadinessFacts } from './facts';
import type { ReadinessReport, Risk } from './report';

type Measured = Omit<ReadinessReport, 'risks' | 'outcome' | 'verdict' | 'because'>;

/** What could keep a recovery from succeeding, or nobody knows of; the gravest first, each said once. */
export function risksOf(facts: ReadinessFacts, report: Measured): Risk[] {
  const all = [
    ...brokenPromises(report),
    ...openNow(facts),
    ...fromProofs(report),
    ...fromCopies(report),
    ...fromRuns(report),
    ...fromStorage(facts, report),
    ...facts.unread.map(({ part, reason }) => medium(`${part} could not be read for this report: ${reason}`, null)),
  ];
  return [...all.filter(({ severity }) => severity === 'high'), ...all.filter(({ severity }) => severity === 'medium')];
}

const high = (text: string, next: string | null): Risk => ({ severity: 'high', text, next });
const medium = (text: string, next: string | null): Risk => ({ severity: 'medium', text, next });

function brokenPromises({ objectives }: Measured): Risk[] {
  return objectives.flatMap(({ title, judgement, basis }) => {
    if (judgement === 'within') return [];
    return judgement === 'over'
      ? [high(`${title} was not kept: ${basis}`, null)]
      : [medium(`${title} cannot be told for sure: ${basis}`, null)];
  });
}

/** As it is when the report is made: what was mended since needs nobody any more. */
function openNow({ lastHealth, lastReadiness, activeSite }: ReadinessFacts): Risk[] {
  const sick = (lastHealth?.stores ?? []).flatMap(({ store, status, reasons }) => {
    if (status === 'healthy') return [];
    const text = `${store} is not healthy: ${reasons.map((reason) => reason.text).join('; ')}`;
    return [status === 'error' ? high(text, 'drctl status') : medium(text, 'drctl status')];
  });
  const looks = (lastReadiness ?? []).filter(({ toSite }) => toSite !== activeSite);
  const unready = looks.flatMap((result) => {
    if (result.verdict === 'ready') return [];
    const what = alarming(result.checks).map(({ title }) => title);
    return [
      high(`a failover to ${result.toSite} would not succeed: ${what.join(', ')}`, 'drctl plan failover --dry-run'),
    ];
  });
  const unseen =
    looks.length > 0 ? [] : [medium('nobody looked whether a failover would succeed', 'schedule: run readiness')];
  const unjudged = lastHealth ? [] : [medium('no health check was kept', 'schedule: run health-check')];
  return [...sick, ...unready, ...unseen, ...unjudged];
}

function fromProofs({ proofs }: Measured): Risk[] {
  return (proofs ?? []).flatMap(({ store, full, restore, stillFailing }) => [
    ...(stillFailing === null
      ? []
      : [high(`the newest proof of ${store} failed: ${stillFailing}`, 'drctl proofs list')]),
    ...(restore.proven === 0
      ? [medium(`no restore of ${store} was proven in this time`, `drctl verify ${store} --restore`)]
      : []),
    ...(full.proven + restore.proven === 0
      ? [medium(`no backup of ${store} was read completely in this time`, `drctl verify ${store} --full`)]
      : []),
  ]);
}

/** How far they are behind is the health check's to say. */
function fromCopies({ copies }: Measured): Risk[] {
  return (copies ?? []).flatMap(({ store, copy, verified }) =>
    verified?.result === 'failed'
      ? [high(`the newest proof of ${store} in ${copy} failed`, `drctl verify ${store} --full --copy ${copy}`)]
      : [],
  );
}

function fromRuns({ runs, checklists }: Measured): Risk[] {
  const drills = runs.filter(({ kind }) => kind === 'drill');
  const without = drills.length === 0 ? [medium('there was no drill in this time', 'schedule: run drill')] : [];
  const look = (id: string) => `drctl report show ${id}`;
  const bad = [...runs, ...checklists].flatMap(({ id, kind, outcome, verdict, because, endedAt }) => {
    const text = `${kind} of ${endedAt.slice(0, 10)}, ${outcome}: ${because}`;
    if (verdict === 'failed') return [kind === 'checklist' ? medium(text, look(id)) : high(text, look(id))];
    return verdict === 'attention' ? [medium(text, look(id))] : [];
  });
  return [...without, ...bad];
}

/** A month that stores half as much again as all before it fills what was planned for years. */
const FAST_GROWTH = 1.5;

function fromStorage({ disks }: ReadinessFacts, { capacity, cost }: Measured): Risk[] {
  const unseen = disks.flatMap((disk) => ('holds' in disk && !disk.holds ? [medium(disk.found, null)] : []));
  const before = capacity?.bytesBefore ?? null;
  const grew =
    capacity && before !== null && before > 0 && capacity.bytes > before * FAST_GROWTH
      ? [medium(`what is stored grew from ${formatBytes(before)} to ${formatBytes(capacity.bytes)} in a month`, null)]
      : [];
  const unpriced =
    cost && cost.unpricedBytes > 0
      ? [
          medium(
            `what ${formatBytes(cost.unpricedBytes)} cost a month is not known: they have no price`,
            'name prices under costs in the config',
          ),
        ]
      : [];
  return [...unseen, ...grew, ...unpriced];
}
