import { STAGE_TITLES } from '../drill';
import { recoveryHeld } from '../drill-judgements';
import { clockText, secondsText } from './figures';
import type { RunReport } from './run-report';

/** A section that is a table of plain words, the same in every form of the report. */
export interface ReportTable {
  readonly heading: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What only a drill has; empty for every other report, and without what it did not come to. */
export function drillTables({ drill }: RunReport): ReportTable[] {
  if (!drill) return [];
  const { stages, isolation, speeds, recoveries, remains, site } = drill;
  const tables: ReportTable[] = [
    {
      heading: `Stages, held at ${site}`,
      header: ['stage', 'result', 'took', 'found'],
      rows: stages.map(({ stage, state, seconds, note }) => [
        STAGE_TITLES[stage],
        state,
        seconds > 0 ? secondsText(seconds) : '',
        note,
      ]),
    },
    {
      heading: isolation ? `Isolation, tried from inside at ${clockText(isolation.at)}` : 'Isolation',
      header: ['connection to', 'what', 'result', 'has to'],
      rows: [
        ...(isolation?.copies ?? []).map(({ target, how }) => [target, 'a copy', how, 'connect']),
        ...(isolation?.production ?? []).map(({ target, how }) => [target, 'production', how, 'fail']),
      ],
    },
    {
      heading: 'Performance',
      header: ['endpoint', 'requests', 'p50', 'p95', 'earlier drills', 'a second', 'verdict'],
      rows: speeds.map((speed) => [
        speed.url,
        `${speed.requests}`,
        `${speed.p50Milliseconds} ms`,
        `${speed.p95Milliseconds} ms`,
        speed.baselineMilliseconds === null ? 'none yet' : `${speed.baselineMilliseconds} ms (${speed.baselineDrills})`,
        `${speed.perSecond}`,
        speed.verdict ?? 'holds',
      ]),
    },
    {
      heading: 'Recovery times',
      header: ['target', 'component', 'killed', 'at', 'healthy after', 'limit', 'verdict'],
      rows: recoveries.map((each) => [
        each.name,
        each.component,
        each.killed.join(', '),
        each.killedAt ? clockText(each.killedAt) : 'not killed',
        each.seconds === null ? '' : secondsText(each.seconds),
        secondsText(each.limitSeconds),
        recoveryHeld(each) ? 'holds' : (each.problem ?? 'too late'),
      ]),
    },
    { heading: 'Left behind', header: ['what'], rows: (remains ?? []).map((each) => [each]) },
  ];
  return tables.filter(({ rows }) => rows.length > 0);
}
