import { countOf } from '../clock';
import { clockText, secondsText } from '../report/figures';
import type { Look, Section } from './plot';
import type { Exposure, ReadinessReport, Recovery } from './report';
import { copiesSection } from './copies';
import { storageSections } from './storage-sections';
import { percentText } from './words';

/** Everything below the figures, in the order in which it is read. What there is nothing of is left out. */
export function sectionsOf(report: ReadinessReport): Section[] {
  return [
    uptime(report),
    exposure(report),
    recovery(report),
    backups(report),
    proofs(report),
    readiness(report),
    runs(report),
    checklists(report),
    copiesSection(report),
    ...storageSections(report),
  ].filter((section) => section !== null);
}

const minutesText = (minutes: number) => secondsText(minutes * 60);

function uptime({ uptime: found }: ReadinessReport): Section | null {
  if (!found) return null;
  const { days, outages, downMinutes, unknownMinutes, upMinutes, allowedMinutes } = found;
  const all = upMinutes + downMinutes + unknownMinutes;
  const seen = upMinutes + downMinutes;
  const words =
    `Its endpoints were asked once a minute through the public name. ` +
    `Down: ${downMinutes} of ${all} minutes, ${Math.floor(allowedMinutes)} are allowed. ` +
    (unknownMinutes > 0
      ? `Not known: ${unknownMinutes} minutes, in which nobody asked; they count as neither.`
      : 'Every minute was seen.');
  return {
    heading: 'Uptime',
    words,
    plots: [
      {
        kind: 'days',
        title: 'Minutes of each day',
        summary: `${days.length} days: up ${upMinutes} minutes, down ${downMinutes}, not known ${unknownMinutes}${seen > 0 ? `; ${percentText((100 * upMinutes) / seen)} of what was seen` : ''}`,
        series: [
          { name: 'up', look: 'good' },
          { name: 'down', look: 'bad' },
          { name: 'not known', look: 'open' },
        ],
        days: days.map((day) => ({
          day: day.day,
          values: [day.upMinutes, day.downMinutes, day.unknownMinutes],
          label: `up ${day.upMinutes} min, down ${day.downMinutes} min, not known ${day.unknownMinutes} min`,
        })),
        top: 1_440,
        topLabel: '24 h',
      },
    ],
    table:
      outages.length === 0
        ? null
        : {
            header: ['down from', 'for', 'what was seen'],
            rows: outages.map(({ from, minutes, problem }) => [clockText(from), minutesText(minutes), problem ?? '']),
          },
  };
}

const lookOf = (value: number | null, limit: number, isOpen = false): Look =>
  value === null ? 'open' : value > limit ? 'bad' : isOpen ? 'open' : 'good';

function exposure({ exposures }: ReadinessReport): Section {
  const text = (seconds: number | null) =>
    seconds === null ? 'not known' : seconds < 1 ? 'under a second' : secondsText(seconds);
  const unseen = ({ looks, unknown, daysUnseen }: Exposure) =>
    [
      looks === 0 ? 'never looked at' : null,
      unknown > 0 ? `${unknown} of ${countOf(looks, 'look')}` : null,
      looks > 0 && daysUnseen > 0 ? `${countOf(daysUnseen, 'day')} without a look` : null,
    ]
      .filter((each) => each !== null)
      .join('; ');
  return {
    heading: 'What a loss would have cost (RPO)',
    words: 'The most that was at risk at any health check, against the objective of each store.',
    plots: [
      {
        kind: 'bars',
        title: 'The most at risk, by store; the line is the objective',
        summary: exposures
          .map((each) => `${each.store} ${text(each.worstSeconds)} of ${secondsText(each.objectiveSeconds)}`)
          .join(', '),
        rows: exposures.map((each) => ({
          name: each.store,
          seconds: each.worstSeconds,
          markSeconds: each.objectiveSeconds,
          text: text(each.worstSeconds),
          look: lookOf(each.worstSeconds, each.objectiveSeconds, unseen(each) !== ''),
        })),
      },
    ],
    table: {
      header: ['store', 'objective', 'most at risk', 'looks over it', 'not known'],
      rows: exposures.map((each) => [
        each.store,
        secondsText(each.objectiveSeconds),
        text(each.worstSeconds),
        each.looks === 0 ? '' : `${each.over} of ${each.looks}`,
        unseen(each),
      ]),
    },
  };
}

function recovery({ recoveries, objectives }: ReadinessReport): Section {
  const rto = objectives.find(({ id }) => id === 'rto')?.target ?? 0;
  const slowest = [
    ...new Map(recoveries.toSorted((a, b) => a.seconds - b.seconds).map((each) => [each.what, each])).values(),
  ];
  const loss = ({ lossSeconds, lossObjectiveSeconds }: Recovery) =>
    lossSeconds === null ? '' : `${secondsText(lossSeconds)} of ${secondsText(lossObjectiveSeconds ?? 0)}`;
  return {
    heading: 'Recoveries that were measured (RTO)',
    words:
      recoveries.length === 0
        ? `Nothing was recovered in this time: whether ${secondsText(rto)} can be kept is not known.`
        : 'Restores that were really done and read, and role changes until the service was seen to work.',
    plots:
      recoveries.length === 0
        ? []
        : [
            {
              kind: 'bars',
              title: 'The slowest of each; the line is the objective',
              summary: slowest.map(({ what, seconds }) => `${what} ${secondsText(seconds)}`).join(', '),
              rows: slowest.map(({ what, seconds, objectiveSeconds }) => ({
                name: what,
                seconds,
                markSeconds: objectiveSeconds,
                text: secondsText(seconds),
                look: lookOf(seconds, objectiveSeconds),
              })),
            },
          ],
    table:
      recoveries.length === 0
        ? null
        : {
            header: ['what', 'when', 'took', 'objective', 'age of the state'],
            rows: recoveries.map((each) => [
              each.what,
              clockText(each.at),
              secondsText(each.seconds),
              secondsText(each.objectiveSeconds),
              loss(each),
            ]),
          },
  };
}

function backups({ backups: found }: ReadinessReport): Section | null {
  if (!found) return null;
  const { days, stores, failuresSince } = found;
  const most = Math.max(1, ...days.map(({ succeeded, failed }) => succeeded + failed));
  return {
    heading: 'Backups',
    words:
      failuresSince === null
        ? null
        : `Runs that failed are counted since ${failuresSince.slice(0, 10)} only; what failed before is not known.`,
    plots: [
      {
        kind: 'days',
        title: 'Backups of each day',
        summary: days.map(({ day, succeeded, failed }) => `${day}: ${succeeded} taken, ${failed} failed`).join('; '),
        series: [
          { name: 'taken', look: 'good' },
          { name: 'failed', look: 'bad' },
        ],
        days: days.map(({ day, succeeded, failed }) => ({
          day,
          values: [succeeded, failed],
          label: `${succeeded} taken, ${failed} failed`,
        })),
        top: most,
        topLabel: String(most),
      },
    ],
    table: {
      header: ['store', 'taken', 'failed', 'success', 'longest without a new one'],
      rows: stores.map(({ store, succeeded, failed, longestGapSeconds }) => [
        store,
        String(succeeded),
        String(failed),
        succeeded + failed === 0 ? '' : percentText((100 * succeeded) / (succeeded + failed)),
        longestGapSeconds === null ? 'there was none' : secondsText(longestGapSeconds),
      ]),
    },
  };
}

function proofs({ proofs: found }: ReadinessReport): Section | null {
  if (!found) return null;
  const count = ({ proven, failed }: { readonly proven: number; readonly failed: number }) =>
    failed > 0 ? `${proven}, ${failed} FAILED` : String(proven);
  return {
    heading: 'Proofs',
    words: 'Backups that were read completely, and restores that were really done from the repository alone.',
    plots: [],
    table: {
      header: ['store', 'read', 'restored', 'objects read', 'damaged', 'still failing'],
      rows: found.map(({ store, full, restore, objects, damaged, stillFailing }) => [
        ...[store, count(full), count(restore), String(objects), String(damaged), stillFailing ?? ''],
      ]),
    },
  };
}

function readiness({ readiness: sites }: ReadinessReport): Section | null {
  const looked = sites.filter(({ looks }) => looks > 0);
  if (looked.length === 0) return null;
  return {
    heading: 'Could it have failed over?',
    words: looked
      .map(({ site, looks, ready }) => `${site} could have taken over at ${ready} of ${countOf(looks, 'look')}.`)
      .join(' '),
    plots: looked.map(({ site, days, looks, ready }) => ({
      kind: 'days' as const,
      title: `Looks of each day at ${site}`,
      summary: `${site}: ready at ${ready} of ${countOf(looks, 'look')}`,
      series: [
        { name: 'ready', look: 'good' as const },
        { name: 'not ready', look: 'bad' as const },
      ],
      days: days.map(({ day, looks: all, ready: good, lowestScore }) => ({
        day,
        values: [good, all - good],
        label: all === 0 ? 'nobody looked' : `ready at ${good} of ${all}, ${lowestScore} of 100 at least`,
      })),
      top: Math.max(1, ...days.map((day) => day.looks)),
      topLabel: String(Math.max(1, ...days.map((day) => day.looks))),
    })),
    table: null,
  };
}

function runs({ runs: found }: ReadinessReport): Section | null {
  if (found.length === 0) return null;
  return {
    heading: 'Drills, restores and role changes',
    words: 'Each has a report of its own: drctl report show, with its id.',
    plots: [],
    table: {
      header: ['what', 'when', 'took', 'how it ended', 'report'],
      rows: found.map(({ kind, endedAt, seconds, outcome, because, id }) => [
        ...[kind, clockText(endedAt), secondsText(seconds), `${outcome}: ${because}`, id],
      ]),
    },
  };
}

function checklists({ checklists: found }: ReadinessReport): Section | null {
  if (found.length === 0) return null;
  const byPeriod = new Map<string, typeof found>();
  for (const each of found) {
    const period = each.outcome.split(':')[0] ?? each.outcome;
    byPeriod.set(period, [...(byPeriod.get(period) ?? []), each]);
  }
  return {
    heading: 'Checklists',
    words: null,
    plots: [],
    table: {
      header: ['list', 'ended', 'all done', 'with exceptions', 'not done'],
      rows: [...byPeriod].map(([period, lists]) => {
        const count = (verdict: string) => String(lists.filter((each) => each.verdict === verdict).length);
        return [period, String(lists.length), count('achieved'), count('attention'), count('failed')];
      }),
    },
  };
}
