import { whyAskAgain } from '../../core/approval';
import { estimateLoss, type LossEstimate, type ReplicaState, type ReplicationSample } from '../../core/replication';
import type { ApprovalCard } from '../../core/role-change-runs';

const START = Date.parse('2026-11-22T13:00:00.000Z');
const iso = (seconds: number) => new Date(START + seconds * 1_000).toISOString();
const compare = (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value);

/** How far each clock is from the true time, in seconds. */
interface Clocks {
  readonly sampler?: number;
  readonly estimator?: number;
  readonly primary?: number;
  readonly standby?: number;
}

/** A state read at a true time by a worker whose clock is off, of a server whose clock is off; it answered in 10 ms. */
function stateAt(trueSeconds: number, worker: number, server: number, position: number): ReplicaState {
  return {
    site: 'x',
    at: iso(trueSeconds + worker),
    answeredAt: iso(trueSeconds + worker + 0.01),
    serverAt: iso(trueSeconds + server + 0.005),
    position: { engine: 'fake', lineage: '1', value: `${position}` },
    bytes: position,
    operations: position / 100,
    appliedUntil: null,
  };
}

/**
 * 100 bytes and one transaction a second for twenty seconds, sampled every two; the standby is two seconds behind. The
 * loss is estimated five seconds after the last sample.
 */
function estimate({ sampler = 0, estimator = 0, primary = 0, standby = 0 }: Clocks): LossEstimate {
  const samples = Array.from({ length: 11 }, (_, index): ReplicationSample => {
    const at = index * 2;
    return {
      store: 'orders',
      takenAt: iso(at + sampler),
      primary: stateAt(at, sampler, primary, at * 100),
      standby: stateAt(at, sampler, standby, (at - 2) * 100),
      problem: null,
    };
  });
  const now = stateAt(25, estimator, standby, 1_800);
  return estimateLoss('orders', samples, now, iso(25 + estimator), compare);
}

describe('the bound of a loss', () => {
  const exact = { certainty: 'bound', bytes: 700, operations: 7, seconds: 7, sampleAgeSeconds: 5 };

  test('is what the standby lacks at the newest sample, plus the peak rate times its age', () => {
    expect(estimate({})).toMatchObject({ ...exact, growth: { bytesPerSecond: 100, operationsPerSecond: 1 } });
  });

  test.each([
    ['the primary is an hour ahead', { primary: 3_600 }],
    ['the primary is an hour behind', { primary: -3_600 }],
    ['the standby is an hour ahead', { standby: 3_600 }],
    ['every clock is wrong', { primary: -90, standby: 45, sampler: 20, estimator: 20 }],
  ])('does not move when %s', (_, clocks) => {
    expect(estimate(clocks)).toMatchObject(exact);
    expect(estimate(clocks).basis).not.toMatch(/clock/);
  });

  test.each([
    ['4 s behind the sampler', { estimator: -4 }],
    ['4 s behind the sampler, and the servers differ too', { sampler: 4, primary: 100, standby: -100 }],
  ])('is not too small where the worker that estimates is %s, and says so', (_, clocks) => {
    const loss = estimate(clocks);
    expect(loss.sampleAgeSeconds).toBeGreaterThanOrEqual(5);
    expect(loss.sampleAgeSeconds).toBeLessThan(5.1);
    expect(loss.seconds).toBeGreaterThanOrEqual(7);
    expect(loss.bytes).toBeGreaterThanOrEqual(700);
    expect(loss.basis).toMatch(/clock of the worker that sampled is ahead of this one's: 4\.0 s were added/);
  });

  test('stays a bound where the worker that estimates is ahead, or behind by too little to matter', () => {
    expect(estimate({ estimator: 4 }).seconds).toBeGreaterThanOrEqual(7);
    expect(estimate({ estimator: -0.2 }).basis).not.toMatch(/clock/);
  });

  describe('in bytes, of a log that grows most after a checkpoint', () => {
    /** Ten samples, two seconds apart, watched since the first; the primary's clock is a minute ahead. */
    const at = (seconds: number) => iso(seconds + 60);
    const bound = (checkpointAt: string | null, watchedSince: string | undefined = at(0)) => {
      const samples = Array.from({ length: 10 }, (_, index): ReplicationSample => {
        const primary = { ...stateAt(index * 2, 0, 60, index * 200), checkpointAt };
        return { store: 'orders', takenAt: iso(index * 2), primary, standby: null, problem: null, watchedSince };
      });
      return estimateLoss('orders', samples, stateAt(20, 0, 0, 1_800), iso(20), compare);
    };

    test.each([
      ['before it was sampled', at(-1), /no checkpoint was seen/],
      ['in the moment of the newest sample', at(17), /has just been/],
      ['at a time that the server does not say', null, /does not say/],
    ])('is unknown where the newest was %s; the other bounds hold', (_, checkpointAt, basis) => {
      const loss = bound(checkpointAt);
      expect(loss).toMatchObject({ certainty: 'bound', bytes: null, operations: 2, seconds: 2 });
      expect(loss.growth).toEqual({ bytesPerSecond: null, operationsPerSecond: 1 });
      expect(loss.basis).toMatch(basis);
    });

    test('is known once the moments after one were sampled, by the clock of the primary', () => {
      expect(bound(at(5))).toMatchObject({ bytes: 200, growth: { bytesPerSecond: 100 } });
      expect(bound(at(5)).basis).not.toMatch(/unknown/);
      expect(bound(at(5), at(6))).toMatchObject({ bytes: null });
    });
  });

  test('is unknown, not zero, without a sample, without a standby and across lineages', () => {
    const [sample] = [stateAt(0, 0, 0, 100)];
    const other = { ...sample, position: { ...sample.position, lineage: '2' } };
    const samples = [{ store: 'orders', takenAt: iso(0), primary: sample, standby: null, problem: null }];
    for (const loss of [
      estimateLoss('orders', [], sample, iso(1), compare),
      estimateLoss('orders', samples, null, iso(1), compare),
      estimateLoss('orders', samples, other, iso(1), compare),
    ])
      expect(loss).toMatchObject({ certainty: 'unknown', bytes: null, operations: null, seconds: null });
  });
});

describe('what an approval does not cover', () => {
  const card = (loss: Partial<LossEstimate>, problem: string | null = null): ApprovalCard => ({
    number: 1,
    application: 'shop',
    fromSite: 'primary',
    toSite: 'dr',
    requestedBy: 'sam',
    reason: 'dark',
    evidence: [],
    losses: [{ ...estimate({}), ...loss }],
    measuredAt: iso(0),
    problem,
    worse: [],
    rtoSeconds: 100,
    rpoSeconds: 900,
  });
  const unknown = { certainty: 'unknown', bytes: null, operations: null, seconds: null } as const;

  test('a minute of the growth that the card names is covered, more is not', () => {
    expect(whyAskAgain(card({}), card({ seconds: 67, bytes: 6_700, operations: 67 }))).toEqual([]);
    expect(whyAskAgain(card({}), card({ seconds: 68.1 }))).toEqual([
      'orders: at most 69 s now, at most 7 s were shown',
    ]);
    expect(whyAskAgain(card({}), card({ bytes: 6_701 }))).toHaveLength(1);
    expect(whyAskAgain(card({}), card({ operations: 68 }))).toHaveLength(1);
  });

  test('an objective that is crossed and a loss that is not known any more are asked about', () => {
    expect(whyAskAgain(card({ seconds: 899 }), card({ seconds: 901 }))).toEqual([
      'orders: 901 s is OVER the objective of 900 s',
    ]);
    expect(whyAskAgain(card({}), card(unknown))).toEqual([expect.stringMatching(/^orders: .* is unknown now/)]);
    expect(whyAskAgain(card({}), card({ bytes: null }))).toEqual([expect.stringMatching(/bytes cannot be measured/)]);
    expect(whyAskAgain(card({}), card({}, 'no S3'))).toEqual([expect.stringMatching(/not be measured anew: no S3/)]);
  });

  test('a promotion that would have to be forced now is asked about, and no more once that was shown', () => {
    const mustForce = '1 of 3 votes answer';
    expect(whyAskAgain(card({}), card({ mustForce }))).toEqual([
      'orders: it would have to be forced now: 1 of 3 votes answer',
    ]);
    expect(whyAskAgain(card(unknown), card({ mustForce }))).toHaveLength(1);
    expect(whyAskAgain(card({ mustForce }), card({ mustForce: '0 of 3 votes answer' }))).toEqual([]);
  });

  test('nothing is worse than an unknown loss that was approved, nor the same problem again', () => {
    expect(whyAskAgain(card(unknown), card({ seconds: 5_000 }))).toEqual([]);
    expect(whyAskAgain(card({}, 'no S3'), card({}, 'still no S3'))).toEqual([]);
    expect(whyAskAgain(card({}), card({ seconds: 1, bytes: 0, operations: 0 }))).toEqual([]);
  });
});
