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
  const count = Math.ceil((2 * STEPS.switchover.length) / KILLS_OF_ONE);
  return Array.from({ length: count }, (_, index) => ({
    round: index + 1,
    kills: dealer.deal(STEPS.switchover, KILLS_OF_ONE),
  }));
}
