import type { StoreSummary } from '../core/application';
import type { CallContext } from '../core/call';
import { findFailure, hasCode, reasonOf } from '../core/errors';
import { layout } from '../core/layout';
import { check, type Judgement, type ReadinessCheck, type ReadinessState } from '../core/readiness';
import {
  judgeAnswers,
  judgeBackups,
  judgeCatchUp,
  judgeFence,
  judgeFiles,
  judgeHistory,
  judgeLoss,
  judgeMajority,
  judgeObstacles,
  judgeProblems,
  judgeRecord,
  judgeService,
  judgeStandby,
  NO_FENCE,
} from '../core/readiness-judgements';
import type { OpenApplication } from './deps';
import { lossOfStore } from './primary';
import type { StoredSamples } from './sample-log';

/** A role change that nobody has asked for, looked at from the site that would take over. */
export interface ReadinessInput {
  readonly application: string;
  readonly fromSite: string;
  readonly toSite: string;
  /** Looked at for a switchover: what only that needs is as bad as the rest. */
  readonly planned?: boolean;
}

/** What does not answer by then would not serve a failover either. */
const LOOK_MILLISECONDS = 10_000;

export async function checkStandby(
  open: OpenApplication,
  { name: store, rpoSeconds }: StoreSummary,
  { fromSite, toSite }: ReadinessInput,
  samples: Promise<StoredSamples>,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const engine = open.engine(store);
  const { replication } = engine;
  if (!replication) return [];
  const mustForce = replication.mustForce?.bind(replication);
  const catchUpLacks = replication.catchUpLacks?.bind(replication);
  // Asked once, judged by several; a site that the store does not have throws before it promises anything.
  const probeAt = async (site: string) => engine.probe(site, ctx);
  const [standby, primary] = [probeAt(toSite), probeAt(fromSite)];
  void Promise.allSettled([standby, primary]);
  const looks: readonly (readonly [id: string, title: string, onTheDay: string, ask: () => Promise<Judgement>])[] = [
    [
      'standby',
      `Standby of ${store} at ${toSite}`,
      'nothing could take over',
      async () => judgeStandby(replication.electsItself, await standby),
    ],
    [
      'history',
      `History of ${store} at ${toSite}`,
      'whether the right data would be promoted is not known',
      async () => judgeHistory(await primary, await standby),
    ],
    [
      'promotion',
      `Promotion of ${store} at ${toSite}`,
      'whether the promotion would succeed is not known',
      async () => {
        const [obstacles, noted, current] = await Promise.all([
          replication.obstacles(toSite, fromSite, ctx),
          replication.epoch(toSite, ctx),
          open.epochs.current(),
        ]);
        return judgeObstacles(obstacles, noted, (current?.epoch ?? 0) + 1);
      },
    ],
    ...(catchUpLacks
      ? [
          [
            'catch-up',
            `Archived log for ${store} at ${toSite}`,
            'whether what only the archive has could be promoted is not known',
            async () => judgeCatchUp(await catchUpLacks(toSite, ctx)),
          ] as const,
        ]
      : []),
    ...(mustForce
      ? [
          [
            'majority',
            `Majority of ${store} without ${fromSite}`,
            'whether it elects a primary by itself is not known',
            async () => judgeMajority(await mustForce(toSite, fromSite, ctx)),
          ] as const,
        ]
      : []),
    [
      'loss',
      `Loss of ${store}`,
      'approvers would be shown a loss that nobody knows',
      async () => {
        const loss = await lossOfStore(open, store, await samples, toSite, ctx);
        return loss ? judgeLoss(loss, rpoSeconds) : (['unknown', 'it has no role to change', null] as const);
      },
    ],
    [
      'setup',
      `Servers of ${store} at ${toSite}`,
      'what they want to be mended is not known',
      async () => judgeProblems(await standby),
    ],
  ];
  const checks = looks.map(([id, title, onTheDay, ask]) =>
    look({ id: `${id}:${store}`, title }, onTheDay, ask, ctx, id === 'standby' ? 'failing' : 'unknown'),
  );
  const found = await Promise.all(checks);
  // Why a standby cannot be seen is said once, not as something to mend at it besides.
  const gone = found.some(({ id, state }) => id === `standby:${store}` && state !== 'ok');
  return gone ? found.filter(({ id }) => id !== `setup:${store}`) : found;
}

/** Files of the application where its services would be started, for stores that the config has there. */
export async function checkFiles(
  open: OpenApplication,
  { name: store }: StoreSummary,
  { toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const asked = (async () => open.engine(store).probe(toSite, ctx))();
  if (
    await asked.then(
      () => false,
      (error: unknown) => hasCode(error, 'NotFound'),
    )
  )
    return [];
  const subject = { id: `files:${store}`, title: `Files of ${store} at ${toSite}` };
  return [
    await look(
      subject,
      'whether services would find their files is not known',
      async () => judgeFiles(await asked),
      ctx,
    ),
  ];
}

export async function checkServices(
  { application, services }: OpenApplication,
  { toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  if (!services) return [];
  const wanted = application.serviceGroups.flatMap((group) => group.services);
  return Promise.all(
    wanted.map(({ name, replicas }) =>
      look(
        { id: `service:${name}`, title: `Service ${name} at ${toSite}` },
        'it would not start, and people would be asked to retry or to skip it',
        async (bounded) => judgeService(await services.rehearse(toSite, name, replicas, bounded), replicas),
        ctx,
      ),
    ),
  );
}

export async function checkNames(
  { application, zone, probe }: OpenApplication,
  activeSite: string,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const both = application.dns.map(async (target) => {
    const { name, type } = target;
    const record = zone
      ? [
          look(
            { id: `dns:${name}`, title: `Record ${type} ${name} in the zone` },
            'the name could not be moved: users would stay at the old site',
            async (bounded) => {
              const found = await zone.record(name, type, bounded);
              if (found !== null) await zone.rehearse(found, bounded);
              return judgeRecord(target, activeSite, found);
            },
            ctx,
          ),
        ]
      : [];
    const servers = look(
      { id: `name-servers:${name}`, title: `Name servers of ${name}` },
      'whether users would be sent to the new site could not be seen',
      async (bounded) => judgeAnswers(target, activeSite, await probe.authoritative(name, type, bounded)),
      ctx,
    );
    return Promise.all([...record, servers]);
  });
  return (await Promise.all(both)).flat();
}

export function checkBackups(
  open: OpenApplication,
  store: string,
  { toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck> {
  return look(
    { id: `backups:${store}`, title: `Backups of ${store}, seen from ${toSite}` },
    'without its repository nothing is restored, and the first backup after the move fails',
    async () => judgeBackups((await open.catalog(store).list(store)).length),
    ctx,
  );
}

export function checkFence(
  { siteFence }: OpenApplication,
  { fromSite, toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck> {
  return look(
    { id: 'fence', title: `Fence of ${fromSite}, asked from ${toSite}` },
    'the failover would stop until an approver attests that the old site is dead',
    async (bounded) => {
      if (!siteFence) return NO_FENCE;
      const own = siteFence.check(toSite, bounded).catch((error: unknown) => {
        if (hasCode(error, 'NotFound')) return { fencedByEpoch: null }; // it need not be able to fence that one
        throw error;
      });
      const [{ fencedByEpoch }] = await Promise.all([own, siteFence.check(fromSite, bounded)]);
      return judgeFence(siteFence.kind, toSite, fencedByEpoch);
    },
    ctx,
  );
}

export function checkControlRepository(
  { control }: OpenApplication,
  { toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck> {
  return look(
    { id: 'control-repository', title: `Control repository ${control.name}, seen from ${toSite}` },
    'the epoch could not be taken: the failover would stop before anything is fenced',
    async () => {
      const [key, written] = [layout.writeCheck(toSite), Buffer.from(new Date().toISOString())];
      await control.put(key, written);
      const read = await control.read(key);
      // Two looks at once may write in turn: any time written is a proof that both can.
      return Number.isNaN(Date.parse(read.toString('utf8')))
        ? ['failing', `${control.location} does not give back what was written`, 'no epoch that is read there is sure']
        : ['ok', `${control.location} takes a write and gives it back`, null];
    },
    ctx,
  );
}

/** One look, whose failure is what was found: as `failedState` where it is an error that a failover would meet as well. */
export async function look(
  subject: { readonly id: string; readonly title: string },
  onTheDay: string,
  ask: (bounded: CallContext) => Promise<Judgement>,
  ctx: CallContext,
  failedState: ReadinessState = 'failing',
): Promise<ReadinessCheck> {
  const { id, title } = subject;
  const deadline = AbortSignal.timeout(LOOK_MILLISECONDS);
  const bounded = { ...ctx, signal: AbortSignal.any([ctx.signal, deadline]) };
  const asked = (async () => ask(bounded))();
  const late = new Promise<never>((_, reject) => {
    bounded.signal.addEventListener('abort', () => reject(bounded.signal.reason as Error), { once: true });
  });
  // The loser of the race may still fail, with nobody left to hear it.
  void Promise.allSettled([asked, late]);
  try {
    return check(id, title, await Promise.race([asked, late]));
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (deadline.aborted)
      return check(id, title, ['unknown', `no answer within ${LOOK_MILLISECONDS / 1_000} s`, onTheDay]);
    const state = findFailure(error) ? failedState : 'unknown';
    return check(id, title, [state, reasonOf(error), onTheDay]);
  }
}
