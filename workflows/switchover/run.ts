import type { Following, HandOver, SwitchOverFacts } from '../../core/hand-over';
import type { Position } from '../../core/positions';
import { FailoverRun } from '../failover/run';

/** What the chapters of one switchover share besides: both sites live, and each store has to prove that it lost nothing. */
export class SwitchoverRun extends FailoverRun {
  /** The epoch that held when it began; null until the names were looked at. */
  epochBefore: number | null = null;
  handOvers: readonly HandOver[] = [];
  /** Stores whose old server was shut down cleanly, and which the new site has to the last record. */
  endedCleanly: readonly string[] = [];
  following: readonly Following[] = [];
  /** When the first service was told to stop. */
  stoppedAt: string | null = null;

  /** What the token of zero loss was read from: another standby may be behind it. */
  override hasToHave(store: string): Position | null {
    return this.handOvers.find((given) => given.store === store)?.reached ?? null;
  }

  override get facts(): SwitchOverFacts {
    const { handOvers, following, stoppedAt, verifiedAt } = this;
    const outageSeconds = stoppedAt && verifiedAt ? (Date.parse(verifiedAt) - Date.parse(stoppedAt)) / 1_000 : null;
    return { handOvers, following, stoppedAt, outageSeconds };
  }
}
