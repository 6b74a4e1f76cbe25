import { countOf } from '../clock';
import { secondsText } from '../report/figures';
import type { ReadinessFacts } from './facts';
import type { BackupsSection, Exposure, ObjectiveResult, Recovery, StoreProven, UptimeSection } from './report';

/** Everything that was promised, held against what was measured. What is not known is open, also where it looks well so far. */
export function objectivesOf(
  facts: ReadinessFacts,
  measured: {
    readonly uptime: UptimeSection | null;
    readonly backups: BackupsSection | null;
    readonly exposures: readonly Exposure[];
    readonly recoveries: readonly Recovery[];
    readonly proofs: readonly StoreProven[] | null;
  },
): ObjectiveResult[] {
  return [
    recoveryTime(facts, measured.recoveries),
    recoveryPoint(facts, measured.exposures, measured.recoveries),
    uptimeResult(facts, measured.uptime),
    backupSuccess(facts, measured.backups),
    dataIntegrity(facts, measured.proofs),
  ];
}

const sentences = (parts: readonly (string | null)[]) => parts.filter((part) => part !== null).join('; ');

function recoveryTime({ stores, rtoSeconds }: ReadinessFacts, recoveries: readonly Recovery[]): ObjectiveResult {
  const result = { id: 'rto', title: 'Recovery time (RTO)', unit: 'seconds', target: rtoSeconds } as const;
  const worst = recoveries.reduce<Recovery | null>(
    (max, each) => (max && max.seconds >= each.seconds ? max : each),
    null,
  );
  const missing = stores.filter(({ store }) => !recoveries.some(({ what }) => what === `restore of ${store}`));
  const never = missing.length === 0 ? null : `not measured: ${missing.map(({ store }) => store).join(', ')}`;
  if (!worst) return { ...result, measured: null, judgement: 'open', basis: 'nothing was recovered in this time' };
  const over = recoveries.filter(({ seconds, objectiveSeconds }) => seconds > objectiveSeconds);
  return {
    ...result,
    measured: worst.seconds,
    judgement: over.length > 0 ? 'over' : never === null ? 'within' : 'open',
    basis: sentences([`${worst.what}, the longest of ${recoveries.length} that were measured`, never]),
  };
}

function recoveryPoint(
  { period }: ReadinessFacts,
  exposures: readonly Exposure[],
  recoveries: readonly Recovery[],
): ObjectiveResult {
  const result = { id: 'rpo', title: 'Recovery point (RPO)', unit: 'seconds' } as const;
  const share = ({ worstSeconds, objectiveSeconds }: Exposure) => (worstSeconds ?? 0) / objectiveSeconds;
  const worst = exposures.reduce<Exposure | null>((max, each) => (max && share(max) >= share(each) ? max : each), null);
  const lost = recoveries.filter(
    (each) => each.lossSeconds !== null && each.lossSeconds > (each.lossObjectiveSeconds ?? Infinity),
  );
  const over = exposures.filter((each) => each.over > 0);
  const unseen = exposures.filter(({ looks, unknown, daysUnseen }) => looks === 0 || unknown > 0 || daysUnseen > 0);
  const target = worst?.objectiveSeconds ?? 0;
  if (!worst || worst.worstSeconds === null) {
    const basis = `no health check told in ${period.month} what would be lost`;
    return { ...result, target, measured: null, judgement: 'open', basis };
  }
  return {
    ...result,
    target,
    measured: worst.worstSeconds,
    judgement: over.length + lost.length > 0 ? 'over' : unseen.length > 0 ? 'open' : 'within',
    basis: sentences([
      `the most that ${worst.store} would have lost, of ${secondsText(worst.objectiveSeconds)}`,
      over.length > 0
        ? `over at ${over.map((each) => `${each.over} of ${each.looks} looks: ${each.store}`).join(', ')}`
        : null,
      lost.length > 0 ? `over in what was restored: ${lost.map(({ what }) => what).join(', ')}` : null,
      unseen.length > 0 ? `not known all the time: ${unseen.map(({ store }) => store).join(', ')}` : null,
    ]),
  };
}

function uptimeResult({ targets, endpoints }: ReadinessFacts, uptime: UptimeSection | null): ObjectiveResult {
  const target = targets.uptimePercent;
  const result = { id: 'uptime', title: 'Uptime', unit: 'percent', target } as const;
  const open = (basis: string): ObjectiveResult => ({ ...result, measured: null, judgement: 'open', basis });
  if (endpoints === 0) return open('the config names no endpoints that could be asked');
  if (!uptime) return open('what the probes saw cannot be read');
  const { upMinutes, downMinutes, unknownMinutes, allowedMinutes, outages } = uptime;
  const seen = upMinutes + downMinutes;
  if (seen === 0) return open('nobody asked the endpoints: drctl schedules apply starts what does');
  const kept = downMinutes + unknownMinutes <= allowedMinutes;
  const minutes = `${downMinutes} min down in ${countOf(outages.length, 'outage')}, ${Math.floor(allowedMinutes)} min allowed`;
  const unknown = unknownMinutes > 0 ? `${unknownMinutes} of ${seen + unknownMinutes} min not known` : null;
  return {
    ...result,
    // Of what was seen; whether the rest could break the promise is in the judgement.
    measured: (100 * upMinutes) / seen,
    judgement: downMinutes > allowedMinutes ? 'over' : kept ? 'within' : 'open',
    basis: sentences([minutes, unknown]),
  };
}

function backupSuccess({ targets }: ReadinessFacts, backups: BackupsSection | null): ObjectiveResult {
  const target = targets.backupSuccessPercent;
  const result = { id: 'backup-success', title: 'Backup success', unit: 'percent', target } as const;
  const open = (basis: string): ObjectiveResult => ({ ...result, measured: null, judgement: 'open', basis });
  if (!backups) return open('what ran cannot be read');
  const [succeeded, failed] = [
    backups.stores.reduce((sum, each) => sum + each.succeeded, 0),
    backups.stores.reduce((sum, each) => sum + each.failed, 0),
  ];
  if (succeeded + failed === 0) return open('no backup ran');
  const measured = (100 * succeeded) / (succeeded + failed);
  const since = backups.failuresSince;
  return {
    ...result,
    measured,
    judgement: measured < target ? 'over' : since === null ? 'within' : 'open',
    basis: sentences([
      `${succeeded} of ${countOf(succeeded + failed, 'run')}`,
      since === null ? null : `runs that failed are counted since ${since.slice(0, 10)} only`,
    ]),
  };
}

function dataIntegrity({ targets }: ReadinessFacts, proofs: readonly StoreProven[] | null): ObjectiveResult {
  const target = targets.dataIntegrityPercent;
  const result = { id: 'data-integrity', title: 'Data integrity', unit: 'percent', target } as const;
  if (!proofs) return { ...result, measured: null, judgement: 'open', basis: 'the proofs cannot be read' };
  const objects = proofs.reduce((sum, each) => sum + each.objects, 0);
  const damaged = proofs.reduce((sum, each) => sum + each.damaged, 0);
  const unread = proofs.filter(({ full, restore }) => full.proven + restore.proven === 0).map(({ store }) => store);
  if (objects === 0) return { ...result, measured: null, judgement: 'open', basis: 'no backup was read completely' };
  const measured = (100 * Math.max(0, objects - damaged)) / objects;
  return {
    ...result,
    measured,
    judgement: measured < target ? 'over' : unread.length > 0 ? 'open' : 'within',
    basis: sentences([
      `${countOf(objects, 'object')} read, ${damaged} damaged`,
      unread.length > 0 ? `none was read of ${unread.join(', ')}` : null,
    ]),
  };
}
