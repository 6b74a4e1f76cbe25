import type { SeededRandom } from '../random';
import { type Kill, KillDealer, STEPS } from './kills';

export interface KilledSwitchover {
  readonly round: number;
  readonly kills: readonly Kill[];
}

/** More of them, and the time limit of a switchover lets it return rather than arrive. */
const KILLS_OF_ONE = 3;

/** As many as it takes until the worker and Temporal were killed at every step. */
export function killedSwitchovers(random: SeededRandom): KilledSwitchover[] {
  const dealer = new KillDealer(random);
  const rounds: KilledSwitchover[] = [];
  // What is left for the last round may be both kills of one step, of which a round takes one.
  while (!dealer.hasDealt(STEPS.switchover))
    rounds.push({ round: rounds.length + 1, kills: dealer.deal(STEPS.switchover, KILLS_OF_ONE) });
  return rounds;
}
