import { z } from 'zod';
import type { HookAction } from '../adapters/hooks/settings';
import { toApplication } from '../config/application';
import { formatDuration } from '../core/clock';
import { failure } from '../core/errors';
import { type PastRun, withExpectedTimes } from '../core/expected-times';
import { layout } from '../core/layout';
import { planFailover } from '../core/plan-failover';
import { planSwitchover } from '../core/plan-switchover';
import type { StoredObject } from '../core/repository';
import type { ExpectedTime, PlannedGroup, RoleChangePlan } from '../core/role-change-plan';
import type { Session } from './session';

/** Older runs say little of how long the next one takes. */
const RUNS_LOOKED_AT = 10;

const timedSteps = z.array(
  z.object({
    id: z.string(),
    state: z.enum(['waiting', 'running', 'done', 'failed', 'skipped', 'undone']),
    startedAt: z.string().nullable(),
    finishedAt: z.string().nullable(),
  }),
);
const instant = z.iso.datetime().nullable();

/** The part of a stored report that times are taken from: of a versioned one, or of a failover's bare result. */
const pastRun = z.union([
  z
    .object({
      kind: z.string(),
      move: z.object({ to: z.string() }),
      recovery: z.object({ approvedAt: instant, verifiedAt: instant }).nullable(),
      steps: timedSteps,
    })
    .transform(({ kind, move, recovery, steps: all }): PastRun => {
      const [approvedAt, verifiedAt] = [recovery?.approvedAt ?? null, recovery?.verifiedAt ?? null];
      const approvalToVerifiedSeconds =
        approvedAt && verifiedAt ? (Date.parse(verifiedAt) - Date.parse(approvedAt)) / 1_000 : null;
      return { kind, toSite: move.to, approvalToVerifiedSeconds, steps: all };
    }),
  z
    .object({ toSite: z.string(), approvalToVerifiedSeconds: z.number().nullable(), steps: timedSteps })
    .transform((result): PastRun => ({ kind: 'failover', ...result })),
]);

const PLANS = { failover: planFailover, switchover: planSwitchover } as const;

/** What a role change to `toSite` (null: the only other site) would do. Needs the config and the control repository only. */
export async function planRoleChange(
  session: Session,
  kind: RoleChangePlan['kind'],
  toSite: string | null,
): Promise<RoleChangePlan> {
  const { config } = session;
  const open = await session.open();
  const current = await open.epochs.current();
  const fromSite = current?.activeSite ?? config.initialSite;
  const plan = PLANS[kind](
    toApplication(config),
    { fromSite, toSite: otherSite(session, fromSite, toSite), epoch: current?.epoch ?? 0 },
    {
      servers: (store, site) => config.stores[store]?.servers[site] ?? [],
      siteFence: open.siteFence?.kind ?? null,
      hook: (name) => hookInWords(config.hooks[name]?.run),
      ...(kind === 'failover' && { survivors: (store, lostSite) => survivorsOf(session, store, lostSite) }),
    },
  );
  return withExpectedTimes(plan, await pastRuns(session, kind));
}

/** Without the query of an address, which may be a secret. */
function hookInWords(run: HookAction | undefined): string {
  if (!run) return 'runs nothing';
  if ('argv' in run) return `runs ${run.argv.join(' ')}`;
  const { origin, pathname } = new URL(run.url);
  return `POST ${origin}${pathname}`;
}

/** See `PlanDetails.survivors`. */
function survivorsOf({ config }: Session, store: string, lostSite: string) {
  const entry = config.stores[store];
  // The one engine whose members elect their primary themselves.
  if (entry?.engine !== 'mongodb') return null;
  const all = new Set(Object.values(entry.servers).flat());
  const lost = new Set(entry.servers[lostSite] ?? []);
  return { left: [...all].filter((each) => !lost.has(each)).length, all: all.size };
}

/** The site that would take over: the one that was asked for, else the only one that is not active. */
export function otherSite(session: Session, activeSite: string, asked: string | null): string {
  const others = Object.keys(session.config.sites).filter((site) => site !== activeSite);
  if (asked === activeSite) {
    throw failure('RoleMismatch', `${asked} is the active site of ${session.application} already`, {
      next: `Plan for another site: ${others.join(', ') || 'the config has no other'}.`,
    });
  }
  if (asked !== null) return session.site(asked);
  const [only, ...more] = others;
  if (only !== undefined && more.length === 0) return only;
  throw failure(
    'UsageInvalid',
    only === undefined
      ? `${session.application} has no site besides ${activeSite}`
      : `say which site takes over, with --to; there are: ${others.join(', ')}`,
  );
}

/** Of the newest reports. One that cannot be read is said, and costs a time and no more. */
async function pastRuns(session: Session, kind: RoleChangePlan['kind']): Promise<PastRun[]> {
  const { control } = await session.open();
  const found: StoredObject[] = [];
  for await (const object of control.list(`${layout.reports()}${kind}-`)) {
    if (object.key.endsWith('.json')) found.push(object);
  }
  const newest = found.toSorted((a, b) => b.modifiedAt.localeCompare(a.modifiedAt)).slice(0, RUNS_LOOKED_AT);
  const read = newest.map(async ({ key }): Promise<PastRun[]> => {
    const parsed = pastRun.safeParse(parseJson((await control.read(key)).toString('utf8')));
    if (parsed.success) return [parsed.data];
    session.io.note(`The report ${key} does not say how long its steps took: it is left out.`);
    return [];
  });
  return (await Promise.all(read)).flat();
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // what is no JSON is no report either
  }
}

export function planLines(plan: RoleChangePlan): string[] {
  const { kind, application, fromSite, toSite, epoch, nextEpoch, approvalToVerified, rtoSeconds, groups } = plan;
  const steps = groups.reduce((sum, group) => sum + group.steps.length, 0);
  return [
    `${kind === 'failover' ? 'Failover' : 'Switchover'} of ${application} ${fromSite} → ${toSite}: ${steps} steps, epoch ${epoch} → ${nextEpoch}`,
    `  from the approval to the verified service: ${timeText(approvalToVerified)}; objective ${formatDuration(rtoSeconds * 1_000)}`,
    ...groups.flatMap((group, index) => groupLines(group, index + 1)),
    '',
    'Steps of one number run side by side, the numbers one after the other.',
  ];
}

function groupLines({ steps, pivot, waitsFor }: PlannedGroup, number: number): string[] {
  return [
    ...(waitsFor === null ? [] : ['', `  ── waits for ${waitsFor} ──`]),
    ...(pivot
      ? ['', '  ══ the pivot: until here an abort undoes everything in reverse, from here on there is only forward ══']
      : []),
    ...steps.flatMap((step, index) => [
      ...(index === 0 ? [''] : []),
      `  ${`${index === 0 ? number : ''}`.padStart(2)}  ${step.title.padEnd(58)}  ${timeText(step.expected)}`,
      ...(step.onlyWhere ? [`        only where ${step.onlyWhere}:`] : []),
      `        ${step.does}`,
      ...(step.undo ? [`        undo: ${step.undo.title}`] : []),
    ]),
  ];
}

/** Never invented: what no run has measured is not known yet. */
function timeText(expected: ExpectedTime | null): string {
  if (expected === null) return 'time not known yet';
  const { medianSeconds, slowestSeconds, runs } = expected;
  const median = formatDuration(medianSeconds * 1_000);
  return runs === 1
    ? `${median} in 1 run`
    : `${median}, at most ${formatDuration(slowestSeconds * 1_000)} in ${runs} runs`;
}
