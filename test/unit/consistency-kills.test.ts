import { KillDealer, STEPS } from '../support/consistency/kills';
import { plannedRounds } from '../support/consistency/nemesis';
import { killedSwitchovers } from '../support/consistency/switchovers';
import { randomOf, seedsOfRounds } from '../support/random';

/** What the deep runs of the end-to-end tests promise of their kills, whatever the seed. */
const everyPair = (steps: readonly string[]) =>
  steps.flatMap((moment) => ['temporal', 'worker'].map((victim) => `${moment} ${victim}`)).toSorted();
const pairsOf = (rounds: readonly { readonly kills: readonly { moment: string; victim: string }[] }[]) =>
  [...new Set(rounds.flatMap(({ kills }) => kills.map(({ moment, victim }) => `${moment} ${victim}`)))].toSorted();

test.each(seedsOfRounds(5))('twenty failovers lose the worker and Temporal at every step, seed %i', (seed) => {
  const rounds = plannedRounds(randomOf(seed), 20);
  expect(pairsOf(rounds)).toEqual(everyPair([...new Set([...STEPS.failover, ...STEPS.abortedFailover])]));
  expect(rounds[0]?.kills).toHaveLength(1);
  for (const { kills, fault } of rounds) {
    const steps: readonly string[] = fault === 'aborted' ? STEPS.abortedFailover : STEPS.failover;
    const at = kills.map(({ moment }) => steps.indexOf(moment));
    expect(at).toEqual([...new Set(at)].toSorted((a, b) => a - b));
    expect(at).not.toContain(-1);
  }
});

test.each(seedsOfRounds(5))('the switchovers of a deep run do, too, seed %i', (seed) => {
  const rounds = killedSwitchovers(randomOf(seed));
  expect(pairsOf(rounds)).toEqual(everyPair(STEPS.switchover));
  expect(rounds.length).toBeLessThanOrEqual(STEPS.switchover.length);
});

test('none is dealt a second time before all of the same steps were', () => {
  const dealer = new KillDealer(randomOf(1));
  const dealt = Array.from({ length: 8 }, () => dealer.deal(['one', 'two'], 1)).flat();
  const times = (part: typeof dealt) => new Set(part.map(({ moment, victim }) => `${moment} ${victim}`)).size;
  expect([times(dealt.slice(0, 4)), times(dealt.slice(4))]).toEqual([4, 4]);
});
