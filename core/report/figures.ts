import { formatBytes, formatDuration } from '../clock';
import { isolationProblem, recoveryHeld } from '../drill-judgements';
import { unfencedStores } from '../fencing';
import type { LossEstimate } from '../replication';
import type { StepState } from '../runs';
import type { ActualLoss, LossReport, RunReport } from './run-report';

/** `within` and `over` are against an objective; `open` is what is not known; `plain` has nothing to be judged by. */
export type Judgement = 'within' | 'over' | 'open' | 'plain';

/** One of the few numbers at the top of a report. */
export interface Figure {
  readonly label: string;
  readonly value: string;
  /** What it is measured against, and from where to where. */
  readonly note: string;
  readonly judgement: Judgement;
}

export const secondsText = (seconds: number): string => formatDuration(seconds * 1_000);

export const clockText = (iso: string): string => `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;

export const secondsBetween = (from: string, to: string): number => (Date.parse(to) - Date.parse(from)) / 1_000;

export const titleOf = ({ kind, application, outcome }: RunReport): string =>
  `${kind.slice(0, 1).toUpperCase()}${kind.slice(1)} of ${application}: ${outcome}`;

/** A step that was announced and never came needs a word of its own: "waiting" would say that it still does. */
export const stateText = ({ state }: { readonly state: StepState }): string =>
  state === 'waiting' ? 'not reached' : state === 'skipped' ? 'left out' : state;

/** The few numbers that a reader wants first. */
export function figuresOf(report: RunReport): Figure[] {
  return [
    ...recoveryFigures(report),
    ...lossFigures(report),
    ...fenceFigures(report),
    ...storeFigures(report),
    ...itemFigures(report),
    ...drillFigures(report),
  ];
}

function recoveryFigures({ recovery, startedAt, endedAt }: RunReport): Figure[] {
  const took = secondsText(secondsBetween(startedAt, endedAt));
  if (!recovery) return [{ label: 'Took', value: took, note: 'whole run', judgement: 'plain' }];
  const { objectiveSeconds, outageFrom, outageBasis, approvedAt, verifiedAt } = recovery;
  if (verifiedAt === null) {
    const note = `the run took ${took}; objective ${secondsText(objectiveSeconds)}`;
    return [{ label: 'Service back', value: 'not reached', note, judgement: 'plain' }];
  }
  const seconds = secondsBetween(outageFrom, verifiedAt);
  const judgement = seconds <= objectiveSeconds ? 'within' : 'over';
  const back: Figure = {
    label: 'Service back after',
    value: secondsText(seconds),
    note: `${outageBasis} (${clockText(outageFrom)}); ${judged(judgement, objectiveSeconds)}`,
    judgement,
  };
  if (approvedAt === null) return [back];
  const fromApproval: Figure = {
    label: 'From approval to verified',
    value: secondsText(secondsBetween(approvedAt, verifiedAt)),
    note: 'until writes and reads worked through the public name',
    judgement: 'plain',
  };
  return [back, fromApproval];
}

/** What colour says is said in words as well. */
function judged(judgement: Judgement, objectiveSeconds: number): string {
  const objective = secondsText(objectiveSeconds);
  if (judgement === 'within') return `within the objective of ${objective}`;
  return judgement === 'over' ? `OVER the objective of ${objective}` : `objective ${objective}`;
}

function lossFigures({ loss }: RunReport): Figure[] {
  if (!loss) return [];
  const actual = loss.stores.flatMap((each) => (each.actual ? [each.actual] : []));
  const open = loss.stores.filter(({ actual: found }) => found?.certainty === 'not known').map(({ store }) => store);
  if (actual.length > 0 && open.length === 0) return [actualFigure(loss, actual)];
  const estimated = loss.stores.some(({ estimate }) => estimate !== null);
  if (actual.length === 0 && !estimated) return [];
  const unknown = loss.stores.filter(({ estimate }) => estimate?.seconds == null).map(({ store }) => store);
  const worst = Math.max(...loss.stores.map(({ estimate }) => estimate?.seconds ?? 0));
  const known = unknown.length < loss.stores.length;
  const judgement = worst > loss.rpoSeconds ? 'over' : unknown.length > 0 ? 'open' : 'within';
  const note = [
    ...(unknown.length > 0 && known
      ? [`unknown for ${unknown.join(', ')}, at most ${secondsText(worst)} for the others`]
      : []),
    !estimated ? 'not measured' : loss.approvedBy === null ? 'as last measured' : `as ${loss.approvedBy} approved it`,
    judged(judgement, loss.rpoSeconds),
    actual.length === 0
      ? 'nothing was promoted'
      : `actual loss not known${open.length < loss.stores.length ? ` of ${open.join(', ')}` : ''}`,
  ].join('; ');
  return [
    {
      label: actual.length === 0 ? 'A promotion would have lost' : 'Data loss',
      value: unknown.length > 0 ? 'unknown' : `at most ${secondsText(worst)}`,
      note,
      judgement,
    },
  ];
}

/** Where it is known what was really lost, the estimate is of no interest any more. */
function actualFigure({ rpoSeconds, stores }: LossReport, actual: readonly ActualLoss[]): Figure {
  const none = actual.every(isNone);
  const worst = actual.every(({ seconds }) => seconds !== null)
    ? Math.max(...actual.map(({ seconds }) => seconds ?? 0))
    : null;
  const proven = actual.filter(({ certainty }) => certainty === 'proven').length;
  const judgement = none ? 'within' : worst === null ? 'open' : worst <= rpoSeconds ? 'within' : 'over';
  return {
    label: 'Data loss',
    value: none ? 'none' : worst === null ? 'see below' : secondsText(worst),
    note: `proven for ${proven} of ${stores.length} stores; ${judged(judgement, rpoSeconds)}`,
    judgement,
  };
}

/** Only a proof makes a zero, and only of something that was counted. Bytes without a change are what a server wrote for itself. */
function isNone({ certainty, bytes, operations, seconds }: ActualLoss): boolean {
  const counted = (operations === 0 ? [operations, seconds] : [bytes, operations, seconds]).filter(
    (each) => each !== null,
  );
  return certainty === 'proven' && counted.length > 0 && counted.every((each) => each === 0);
}

/** Only where something was promoted: a run that turned back has lifted what it had fenced. */
function fenceFigures({ evidence, move, stores, loss }: RunReport): Figure[] {
  if (!evidence || !move || move.epoch === null || !loss?.stores.some(({ actual }) => actual !== null)) return [];
  const names = stores.map(({ store }) => store);
  const change = { epoch: move.epoch, promotedSite: move.to };
  const by = (strength: 'proven' | 'attested') => {
    const open = unfencedStores(
      names,
      evidence.filter((each) => each.strength === strength),
      change,
    );
    return names.length - open.length;
  };
  const [proven, attested] = [by('proven'), by('attested')];
  return [
    {
      label: `${move.from} cannot write`,
      value: proven === names.length ? 'proven' : attested === names.length ? 'attested' : 'not proven',
      note: `proven for ${proven} of ${names.length} stores${attested > 0 ? `, vouched for by a person for ${attested}` : ''}`,
      judgement: proven === names.length ? 'within' : attested === names.length ? 'open' : 'over',
    },
  ];
}

/** For runs that move nothing: how many stores came through. */
function storeFigures({ move, stores }: RunReport): Figure[] {
  if (move || stores.length === 0) return [];
  const good = stores.filter(({ results }) => results.every(({ state }) => state === 'done'));
  return [
    {
      label: 'Stores',
      value: `${good.length} of ${stores.length}`,
      note: 'went through all of it',
      judgement: good.length === stores.length ? 'within' : 'over',
    },
  ];
}

function itemFigures({ kind, steps, verdict }: RunReport): Figure[] {
  if (kind !== 'checklist') return [];
  const done = steps.filter(({ state }) => state === 'done');
  const note = verdict === 'attention' ? 'some signed although their check did not hold' : 'looked at or signed';
  const judgement = done.length < steps.length ? 'over' : verdict === 'attention' ? 'open' : 'within';
  return [{ label: 'Items', value: `${done.length} of ${steps.length}`, note, judgement }];
}

function drillFigures({ drill }: RunReport): Figure[] {
  if (!drill) return [];
  const { stages, isolation, recoveries, remains } = drill;
  const held = stages.filter(({ state }) => state === 'held').length;
  const out = stages.filter(({ state }) => state === 'left out').length;
  const failed = stages.some(({ state }) => state === 'failed');
  const problem = isolation && isolationProblem(isolation);
  const slowest = Math.max(...recoveries.map(({ seconds }) => seconds ?? Infinity));
  const limit = recoveries[0]?.limitSeconds ?? 0;
  return [
    {
      label: 'Stages held',
      value: `${held} of ${stages.length - out}`,
      note: out > 0 ? `${out} left out` : 'none left out',
      judgement: failed ? 'over' : held + out < stages.length || stages.some(({ gap }) => gap) ? 'open' : 'within',
    },
    {
      label: 'Isolation',
      value: isolation === null ? 'not tried' : problem === null ? 'proven' : 'NOT PROVEN',
      note:
        problem ??
        (isolation ? `${isolation.production.length} connections to production failed` : 'no bubble was open'),
      judgement: isolation === null ? 'open' : problem === null ? 'within' : 'over',
    },
    ...(recoveries.length === 0
      ? []
      : [
          {
            label: 'Slowest recovery',
            value: Number.isFinite(slowest) ? secondsText(slowest) : 'not recovered',
            note: `of ${recoveries.length} killed components; limit ${secondsText(limit)}`,
            judgement: recoveries.every(recoveryHeld) ? ('within' as const) : ('over' as const),
          },
        ]),
    {
      label: 'Left behind',
      value: remains === null ? 'not known' : remains.length === 0 ? 'nothing' : String(remains.length),
      note: 'copies and their processes, the bubble, the isolated name',
      judgement: remains === null ? 'open' : remains.length === 0 ? 'within' : 'over',
    },
  ];
}

/** The headings of what was done to stores, in the order of the run. */
export const storeResults = ({ stores }: RunReport): string[] => [
  ...new Set(stores.flatMap(({ results }) => results.map(({ what }) => what))),
];

/** `≤ 2.5 s · 10 changes · 1000 B`; what is not known is named. */
export function estimateText(estimate: LossEstimate | null): string {
  if (estimate === null) return 'not measured';
  if (estimate.certainty === 'unknown') return 'unknown';
  return `≤ ${amountsText(estimate)}`;
}

export function actualText(actual: ActualLoss | null): string {
  if (actual === null) return 'nothing was promoted';
  if (actual.certainty === 'not known') return 'not known';
  return isNone(actual) ? 'none' : amountsText(actual);
}

function amountsText({ seconds, operations, bytes }: Pick<LossEstimate, 'seconds' | 'operations' | 'bytes'>): string {
  return [
    seconds === null ? 'time unknown' : secondsText(seconds),
    operations === null ? 'changes unknown' : `${operations} changes`,
    bytes === null ? 'bytes unknown' : formatBytes(bytes),
  ].join(' · ');
}

/** Whether an estimate keeps its objective, in words. */
export function objectiveText(estimate: LossEstimate | null, rpoSeconds: number): string {
  const objective = secondsText(rpoSeconds);
  if (estimate?.seconds == null) return `objective ${objective}: cannot be told`;
  return estimate.seconds <= rpoSeconds ? `within ${objective}` : `OVER ${objective}`;
}
