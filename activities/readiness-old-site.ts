import type { StoreSummary } from '../core/application';
import type { CallContext } from '../core/call';
import { findFailure, reasonOf } from '../core/errors';
import type { ReadinessCheck, ReadinessState } from '../core/readiness';
import { judgeHandOver, judgeOldServices, judgeStoreFence, SWITCHOVER_RETURNS } from '../core/readiness-judgements';
import type { OpenApplication } from './deps';
import { look, type ReadinessInput } from './readiness-looks';

/** On the day the old site may be gone, so nothing here keeps a failover from being ready. A switchover needs all of it. */
const stateOf = ({ planned = false }: ReadinessInput): ReadinessState => (planned ? 'failing' : 'warning');

/** What the primary of today would let itself be asked to do: refuse writes, and hand over. */
export async function checkOldPrimary(
  open: OpenApplication,
  { name: store }: StoreSummary,
  input: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const { replication } = open.engine(store);
  if (!replication) return [];
  const { fromSite, toSite, planned = false } = input;
  // Asked once, judged twice.
  const asked = (async () => replication.fenceOutlook(fromSite, toSite, ctx))();
  void Promise.allSettled([asked]);
  const fence = await look(
    { id: `store-fence:${store}`, title: `Fence of ${store} by itself at ${fromSite}` },
    'only the fence of the site, or an approver, could vouch for the old primary',
    async () => judgeStoreFence(await asked, open.siteFence?.kind ?? null),
    ctx,
    'warning',
  );
  const handOver = await look(
    { id: `hand-over:${store}`, title: `Hand-over of ${store} from ${fromSite}` },
    SWITCHOVER_RETURNS,
    async () => judgeHandOver(await asked, planned),
    ctx,
    stateOf(input),
  );
  // That nobody answers there is said once.
  return asked.then(
    () => [fence, handOver],
    () => (planned ? [handOver] : [fence]),
  );
}

/** A failover stops what it can reach of them; a switchover, and the undo of either, needs all. */
export async function checkOldServices(
  { application, services }: OpenApplication,
  input: ReadinessInput,
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const names = application.serviceGroups.flatMap((group) => group.services.map(({ name }) => name));
  if (!services || names.length === 0) return [];
  const { fromSite, planned = false } = input;
  const refusal = async (name: string, bounded: CallContext): Promise<string[]> => {
    try {
      await services.rehearse(fromSite, name, 0, bounded);
      return [];
    } catch (error) {
      if (!findFailure(error)) throw error;
      return [`${name}: ${reasonOf(error)}`];
    }
  };
  const check = await look(
    { id: 'old-services', title: `Services at ${fromSite}` },
    SWITCHOVER_RETURNS,
    async (bounded) => {
      const refused = (await Promise.all(names.map((name) => refusal(name, bounded)))).flat();
      return judgeOldServices(refused, names.length, planned);
    },
    ctx,
    stateOf(input),
  );
  return [check];
}
