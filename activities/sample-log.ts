import { layout } from '../core/layout';
import { growthPerSecond, type ReplicationSample } from '../core/replication';
import type { OpenApplication } from './deps';
import { isRecord, readKept, unlessDamaged } from './kept-state';

/** A minute and a half at one sample each 1.5 s: enough for a peak rate and for a standby that is a minute behind. */
const KEPT_SAMPLES = 60;

/**
 * How long the busiest moment is kept beyond that, and always since the newest checkpoint. After one PostgreSQL logs the whole
 * of each page that changes, a hundred times what it logs else, and checkpoints are minutes apart (`checkpoint_timeout`: five
 * by default): a peak without one would promise a loss in bytes that the next checkpoint breaks.
 */
const PEAK_KEPT_MILLISECONDS = 3_600_000;

/** Longer without an answer of the primary, and a busiest moment may have gone by unseen. */
const GAP_MILLISECONDS = 30_000;

/**
 * Rounds between two writes while the primary answers. Only what was taken since the last write can be lost, and only when
 * the watch's own host is lost together with the primary: the newest sample is then 6 s older, and the bound on the loss
 * says so, because it counts from the time of the sample that it has.
 */
const ROUNDS_A_WRITE = 5;

export type StoredSamples = Readonly<Record<string, readonly ReplicationSample[]>>;

/**
 * The newest replication samples of every store of one application, in one object that one watch writes. A watch that was
 * believed dead may write once more: the samples are then as old as its last ones until the next write, and as true.
 */
export class SampleLog {
  readonly #control: OpenApplication['control'];
  readonly #samples: Map<string, readonly ReplicationSample[]>;
  /** Why it goes on from nothing although something is kept; null where it does not. */
  readonly problem: string | null;
  #unsavedRounds = 0;

  private constructor(control: OpenApplication['control'], stored: StoredSamples, problem: string | null) {
    this.#control = control;
    this.#samples = new Map(Object.entries(stored));
    this.problem = problem;
  }

  /** Goes on from what an earlier watch, perhaps on another host, has kept; from nothing where that is damaged. */
  static async open(control: OpenApplication['control']): Promise<SampleLog> {
    const { value, problem } = await unlessDamaged(readSamples(control), {});
    return new SampleLog(control, value, problem);
  }

  /**
   * Takes one sample of each store, and stores all of them when it is time: every few rounds, and in every round in which
   * a primary did not answer. What it last said is then what matters, and this host may be the next to go.
   */
  async add(round: readonly ReplicationSample[]): Promise<void> {
    for (const sample of round) {
      // A sample without the primary is kept only while it is the newest: a dead primary must not push out its last words.
      const kept = (this.#samples.get(sample.store) ?? []).filter((each) => each.primary !== null);
      this.#samples.set(sample.store, newestAndPeaks([...kept, watched(sample, kept.at(-1))]));
    }
    this.#unsavedRounds += 1;
    if (this.#unsavedRounds >= ROUNDS_A_WRITE || round.some(({ primary }) => primary === null)) await this.save();
  }

  /** Stores what is not stored yet. */
  async save(): Promise<void> {
    if (this.#unsavedRounds === 0) return;
    await this.#control.put(layout.samples(), Buffer.from(JSON.stringify(Object.fromEntries(this.#samples))));
    this.#unsavedRounds = 0;
  }
}

/** The sample with the time since when there was no gap before it. */
function watched(sample: ReplicationSample, before: ReplicationSample | undefined): ReplicationSample {
  const { primary, takenAt } = sample;
  if (!primary?.serverAt) return sample;
  const goesOn =
    before?.primary?.position.lineage === primary.position.lineage &&
    Date.parse(takenAt) - Date.parse(before.takenAt) <= GAP_MILLISECONDS;
  return { ...sample, watchedSince: (goesOn && before.watchedSince) || primary.serverAt };
}

/** The newest samples, and before them the two around the greatest growth of each counter within the time it is kept. */
function newestAndPeaks(samples: readonly ReplicationSample[]): ReplicationSample[] {
  const older = samples.length - KEPT_SAMPLES;
  if (older <= 0) return [...samples];
  const since = Date.parse(samples.at(-1)?.takenAt ?? '') - PEAK_KEPT_MILLISECONDS;
  const checkpointAt = Date.parse(samples.findLast(({ primary }) => primary !== null)?.primary?.checkpointAt ?? '');
  const isKept = ({ takenAt, primary }: ReplicationSample) =>
    Date.parse(takenAt) >= since || Date.parse(primary?.serverAt ?? '') >= checkpointAt;
  const kept = new Set<number>();
  for (const counter of ['bytes', 'operations'] as const) {
    let peak = 0;
    let at = 0;
    for (const [index, sample] of samples.entries()) {
      const { primary } = sample;
      const before = samples[index - 1]?.primary;
      if (!primary || !before || !isKept(sample)) continue;
      const growth = growthPerSecond(before, primary, counter) ?? 0;
      // Of equal ones the newest, which is kept for longest.
      if (growth >= peak && growth > 0) [peak, at] = [growth, index];
    }
    if (at > 0) for (const index of [at - 1, at]) kept.add(index);
  }
  return samples.filter((_, index) => index >= older || kept.has(index));
}

/**
 * Keeps the samples beside those that the watch overwrites: what the run was decided on, and what is read once more when its
 * real loss is measured. Repeatable; a later call of the same run knows no less.
 */
export async function freezeSamples(
  control: OpenApplication['control'],
  runId: string,
  samples: StoredSamples,
): Promise<void> {
  await control.put(layout.samplesOfRun(runId), Buffer.from(JSON.stringify(samples)));
}

/**
 * The samples that are kept, by store, oldest first; none for an application that was never watched. Throws BackupCorrupt where
 * they are damaged.
 */
export async function readSamples(
  control: OpenApplication['control'],
  key: string = layout.samples(),
): Promise<StoredSamples> {
  return (await readKept(control, key, areSamples)) ?? {};
}

function areSamples(value: unknown): value is StoredSamples {
  return isRecord(value) && Object.values(value).every((samples) => Array.isArray(samples) && samples.every(isSample));
}

function isSample(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const isSide = (side: unknown) =>
    side === null ||
    (isRecord(side) && isRecord(side['position']) && isAmount(side['bytes']) && isAmount(side['operations']));
  return (
    typeof value['store'] === 'string' &&
    !Number.isNaN(Date.parse(String(value['takenAt']))) &&
    isSide(value['primary']) &&
    isSide(value['standby'])
  );
}

const isAmount = (value: unknown) => value === null || typeof value === 'number';
