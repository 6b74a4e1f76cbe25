import type { CallContext } from '../core/call';
import type { ReadinessCheck } from '../core/readiness';
import { judgeCapacity, judgeDisk } from '../core/readiness-judgements';
import type { OpenApplication } from './deps';
import { look, type ReadinessInput } from './readiness-looks';

/** Whether the site that would take over is large enough: room for its services, disks of its stores. */
export async function checkCapacity(
  { application, services, siteFence }: OpenApplication,
  { toSite }: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const wanted = application.serviceGroups.flatMap((group) => group.services);
  const room =
    services?.capacity && wanted.length > 0
      ? [
          look(
            { id: 'capacity', title: `Room for the services at ${toSite}` },
            'whether services would find room is not known',
            async (bounded) => judgeCapacity((await services.capacity?.(toSite, wanted, bounded)) ?? NOTHING),
            ctx,
            'warning',
          ),
        ]
      : [];
  return [...(await Promise.all(room)), ...(await checkDisks(siteFence, toSite, ctx))];
}

const NOTHING = { found: 'nothing is wanted', refused: [], homeless: [], unseen: [] };

/** By the agent of the site; one that cannot be asked says so where the fence is looked at. */
async function checkDisks(
  siteFence: OpenApplication['siteFence'],
  toSite: string,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const asked = siteFence?.disks?.(toSite, ctx) ?? Promise.resolve([]);
  const found = await asked.catch(() => null);
  if (found === null) {
    const subject = { id: 'disks', title: `Disks of the stores at ${toSite}` };
    const onTheDay = 'whether a new primary would have room is not known';
    return [await look(subject, onTheDay, async () => ['ok', `${(await asked).length} seen`, null], ctx, 'warning')];
  }
  return Promise.all(
    found.map((disk) =>
      look(
        { id: `disk:${disk.store}`, title: `Disk of ${disk.store} at ${toSite}` },
        'whether a new primary would have room is not known',
        async () => judgeDisk(disk),
        ctx,
      ),
    ),
  );
}
