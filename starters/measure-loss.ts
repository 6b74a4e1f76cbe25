import type { OpenApplication } from '../activities/deps';
import { readSamples } from '../activities/sample-log';
import { type OldPrimaryKnown, withSamples } from '../core/actual-loss';
import { failure, findFailure } from '../core/errors';
import { layout } from '../core/layout';
import type { Position } from '../core/positions';
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
  const samples = await readSamples(open.control, layout.samplesOfRun(report.runId));
  const stores = await Promise.all(
    loss.stores.map((each) => {
      const fenced = report.evidence?.find(
        ({ strength, site, stores: covered }) =>
          strength === 'proven' && site === move.from && covered.includes(each.store),
      );
      return measured(open, each, move, { samples: samples[each.store] ?? [], fencedAt: fenced?.at ?? null });
    }),
  );
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

async function measured(
  open: OpenApplication,
  before: StoreLoss,
  { from, to }: SiteMove,
  kept: Pick<OldPrimaryKnown, 'samples' | 'fencedAt'>,
): Promise<StoreLoss> {
  const { store, actual } = before;
  if (actual?.certainty === 'proven') return before;
  const { replication, positions } = open.engine(store);
  const unread = (basis: string): StoreLoss =>
    // What was read once is not forgotten because the old server is rebuilt by now.
    actual?.certainty === 'measured' ? before : { ...before, actual: { ...UNKNOWN, basis } };
  if (!replication) return unread('its engine has no role to change');
  try {
    const found = await replication.divergence(from, to, quietContext());
    // A log that is no longer has no changes behind its end, whatever the samples say.
    const now = found.bytes === 0 ? null : await replication.state(from, quietContext());
    const compare = (a: Position, b: Position) => positions.compare(a, b);
    const { bytes, operations, seconds, how } =
      found.bytes === 0 ? { ...found, operations: 0, seconds: 0 } : withSamples(found, { ...kept, now }, compare);
    // Where the log was read and holds no change of anybody but drctl's own, nothing of theirs was lost.
    const certainty = bytes === 0 || found.operations === 0 ? 'proven' : 'measured';
    return { ...before, actual: { certainty, bytes, operations, seconds, basis: how } };
  } catch (error) {
    const known = findFailure(error);
    if (!known) throw error;
    return unread(known.message);
  }
}

const UNKNOWN: ActualLoss = { certainty: 'not known', bytes: null, operations: null, seconds: null, basis: '' };
