import type { OpenApplication } from '../activities/deps';
import { failure, findFailure } from '../core/errors';
import { actualText, estimateText } from '../core/report/figures';
import type { ActualLoss, LossReport, RunReport, SiteMove } from '../core/report/run-report';
import { writeReport } from '../core/report/write';
import { quietContext } from './quiet-context';
import { choose, parsed, readStored } from './reports';
import type { Session } from './session';
import { tableLines } from './table';

type StoreLoss = LossReport['stores'][number];

/**
 * Reads from both sides what the promoted stores have not, and writes it into the report beside the estimates that people
 * approved. What cannot be read stays unknown, with the reason; what is known already stays. May be repeated.
 */
export async function measureLoss(session: Session, id: string | null): Promise<void> {
  const chosen = await choose(session, id, 'failover');
  const report = parsed((await readStored(session, chosen, 'json')).toString('utf8'));
  if (!report) throw failure('UsageInvalid', `report ${chosen} was written by another version of drctl`);
  const { loss, move } = report;
  if (!loss || move?.epoch == null || loss.stores.every(({ actual }) => actual === null))
    throw failure('UsageInvalid', `in ${chosen} nothing was promoted, so that nothing was lost`);
  const open = await session.open();
  const current = await open.epochs.current();
  if (current && current.epoch !== move.epoch)
    throw failure(
      'StaleEpoch',
      `${chosen} is of epoch ${move.epoch}; ${current.workflowId} has changed the roles since`,
    );
  const stores = await Promise.all(loss.stores.map((each) => measured(open, each, move)));
  const by = `what was lost was read from ${move.from} at ${session.io.now().toISOString()} for ${session.io.user}`;
  const known = stores.filter(({ actual }) => actual?.certainty !== 'not known').map(({ store }) => store);
  const next: RunReport = {
    ...report,
    loss: { ...loss, stores },
    messages: [...report.messages, `${by}: ${known.join(', ') || 'nothing could be read'}`],
  };
  await writeReport(open.control, next);
  session.print({ id: chosen, stores }, () => [
    ...tableLines(
      ['store', 'approved', 'actual'],
      stores.map(({ store, estimate, actual }) => [store, estimateText(estimate), actualText(actual)]),
    ),
    ...stores.map(({ store, actual }) => `${store}: ${actual?.basis ?? ''}`),
  ]);
}

async function measured(open: OpenApplication, before: StoreLoss, { from, to }: SiteMove): Promise<StoreLoss> {
  const { store, actual } = before;
  if (actual?.certainty === 'proven') return before;
  const { replication } = open.engine(store);
  const unread = (basis: string): StoreLoss =>
    // What was read once is not forgotten because the old server is rebuilt by now.
    actual?.certainty === 'measured' ? before : { ...before, actual: { ...UNKNOWN, basis } };
  if (!replication) return unread('its engine has no role to change');
  try {
    const { bytes, how } = await replication.divergence(from, to, quietContext());
    const certainty = bytes === 0 ? 'proven' : 'measured';
    return { ...before, actual: { ...UNKNOWN, certainty, bytes, basis: how } };
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    return unread(known.message);
  }
}

const UNKNOWN: ActualLoss = { certainty: 'not known', bytes: null, operations: null, seconds: null, basis: '' };
