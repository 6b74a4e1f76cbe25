import type { LossEstimate } from './replication';
import type { ApprovalCard } from './role-change-runs';

/**
 * How much growth of the bound an approval covers. A bound grows with every second in which the old primary may still be
 * writing unseen, at the rates that the card names; a minute is what a person needs to read the card and answer.
 */
export const GROWTH_COVERED_SECONDS = 60;

/**
 * What the approval of the card `shown` does not cover in the card `now`, one line each: a bound beyond the one shown and
 * a minute of its growth, an objective that is no longer kept, a loss that is not known any more. Empty: it is covered.
 */
export function whyAskAgain(shown: ApprovalCard, now: ApprovalCard): string[] {
  if (now.problem !== null && shown.problem === null) return [`the loss could not be measured anew: ${now.problem}`];
  return now.losses.flatMap((loss) => {
    const before = shown.losses.find(({ store }) => store === loss.store);
    if (!before) return [];
    const forced = loss.mustForce && !before.mustForce ? [`it would have to be forced now: ${loss.mustForce}`] : [];
    return [...notCovered(before, loss, shown.rpoSeconds), ...forced].map((why) => `${loss.store}: ${why}`);
  });
}

function notCovered(shown: LossEstimate, now: LossEstimate, rpoSeconds: number): string[] {
  if (shown.certainty === 'unknown') return []; // an unknown loss was approved: nothing is worse than that
  if (now.certainty === 'unknown') return [`what would be lost is unknown now (${now.basis})`];
  const grown = (before: number | null, perSecond: number | null) =>
    before === null || perSecond === null ? null : before + perSecond * GROWTH_COVERED_SECONDS;
  const { bytesPerSecond, operationsPerSecond } = shown.growth;
  const beyond = [
    over('s', shown.seconds, now.seconds, grown(shown.seconds, 1)),
    over('changes', shown.operations, now.operations, grown(shown.operations, operationsPerSecond)),
    over('bytes', shown.bytes, now.bytes, grown(shown.bytes, bytesPerSecond)),
  ].filter((each) => each !== null);
  const crossed =
    shown.seconds !== null && now.seconds !== null && shown.seconds <= rpoSeconds && now.seconds > rpoSeconds;
  return crossed ? [...beyond, `${Math.ceil(now.seconds ?? 0)} s is OVER the objective of ${rpoSeconds} s`] : beyond;
}

function over(unit: string, shown: number | null, now: number | null, covered: number | null): string | null {
  if (shown === null) return null;
  const words = `at most ${Math.ceil(shown)} ${unit} were shown`;
  if (now === null) return `its ${unit === 's' ? 'time' : unit} cannot be measured any more; ${words}`;
  return now > Math.ceil(covered ?? shown) ? `at most ${Math.ceil(now)} ${unit} now, ${words}` : null;
}
