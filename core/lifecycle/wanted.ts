import { ARTIFACT_KINDS, type ArtifactKind } from '../catalog';
import { keptSeconds, kindOf, type RetentionPolicy, type RetentionSettings } from '../retention/policy';
import {
  depthOf,
  INFREQUENT_DAYS,
  isFrozenClass,
  isInfrequentClass,
  minimumDaysOf,
  type StorageClass,
} from '../storage-classes';
import { type LifecycleRule, type LifecycleSettings, ruleId } from './rules';

export interface Move {
  readonly days: number;
  readonly storageClass: StorageClass;
}

/** What becomes of one kind of data as it grows older. */
export interface KindLifecycle {
  readonly kind: ArtifactKind;
  readonly moves: readonly Move[];
  /** Null: S3 deletes none of it by itself. */
  readonly expireDays: number | null;
  /** Where this is not what the config's `lifecycle` says: what, and why. */
  readonly notes: readonly string[];
}

export interface WantedLifecycle {
  readonly kinds: readonly KindLifecycle[];
  /** What is wrong with `lifecycle` itself; nothing may be applied then. */
  readonly problems: readonly string[];
}

/**
 * Retention deletes a backup whole: manifest first, then its data. S3's own expiry, which knows nothing of chains and holds,
 * comes so much later, for what retention could not delete.
 */
export const BEHIND_RETENTION_DAYS = 30;

const DAY_SECONDS = 86_400;
const wholeDays = (seconds: number) => Math.ceil(seconds / DAY_SECONDS);

/** What the settings come to for each kind of data, by what retention keeps of it and for how long it promises it at once. */
export function wantedLifecycle(
  settings: LifecycleSettings,
  policy: RetentionPolicy,
  startsIn: StorageClass,
): WantedLifecycle {
  const kinds = ARTIFACT_KINDS.map((kind) => kindLifecycle(kind, settings, policy, startsIn));
  const born = isFrozenClass(startsIn)
    ? [
        `the repository's own \`storageClass\` is ${startsIn}: every backup would have to be asked back, the newest as well`,
      ]
    : [];
  return { kinds, problems: [...born, ...orderProblems(settings), ...expiryProblems(settings, policy)] };
}

function kindLifecycle(
  kind: ArtifactKind,
  { transitions, expireAfterDays }: LifecycleSettings,
  policy: RetentionPolicy,
  startsIn: StorageClass,
): KindLifecycle {
  const notes: string[] = [];
  const { cloud } = policy[kindOf(kind)];
  const kept = neededDays(kind, policy);
  const moves: (Move & { readonly asked: number })[] = [];
  for (const { afterDays: asked, storageClass } of transitions) {
    const left = (why: string) => notes.push(`not to ${storageClass}: ${why}`);
    const days = isFrozenClass(storageClass) ? Math.max(asked, wholeDays(cloud ?? Infinity)) : asked;
    const minimum = minimumDaysOf(storageClass);
    if (depthOf(storageClass) <= depthOf(startsIn)) left(`it begins in ${startsIn}`);
    else if (days === Infinity) left('`cloud: forever` promises that it can be read at once');
    else if (kept !== null && kept - days < minimum)
      left(`deleted after ${kept} days, and ${minimum} days of ${storageClass} are paid for whatever happens`);
    else moves.push({ days, storageClass, asked });
  }
  const real: typeof moves = [];
  for (const [index, move] of moves.entries()) {
    const { days, storageClass, asked } = move;
    const next = moves[index + 1];
    if (next && next.days - days < leastDaysIn(storageClass)) {
      if (days > asked)
        notes.push(`not to ${storageClass}: it moves on to ${next.storageClass} too soon after \`cloud\` is over`);
      continue;
    }
    if (days > asked)
      notes.push(`to ${storageClass} after ${days} days, not ${asked}: \`cloud\` promises it at once until then`);
    real.push(move);
  }
  return {
    kind,
    moves: real.map(({ days, storageClass }) => ({ days, storageClass })),
    expireDays: expiryOf(kept, expireAfterDays, notes),
    notes,
  };
}

/** As long as retention may need it: its own time, and that of what builds on it or is replayed on it. Null: for ever. */
function neededDays(kind: ArtifactKind, policy: RetentionPolicy): number | null {
  const own = keptSeconds(policy, kindOf(kind));
  const others =
    kind === 'full'
      ? [keptSeconds(policy, 'databaseIncremental'), keptSeconds(policy, 'transactionLogs')]
      : kind === 'incr'
        ? [keptSeconds(policy, 'transactionLogs')]
        : [];
  return [own, ...others].reduce<number | null>(
    (longest, each) => (longest === null || each === null ? null : Math.max(longest, wholeDays(each))),
    0,
  );
}

function expiryOf(kept: number | null, asked: number | null, notes: string[]): number | null {
  if (asked === null) return null;
  if (kept === null) {
    notes.push('never expires: retention keeps it, or what needs it, for ever');
    return null;
  }
  const least = kept + BEHIND_RETENTION_DAYS;
  if (asked >= least) return asked;
  notes.push(
    `expires after ${least} days, not ${asked}: retention keeps it for ${kept} and deletes it first, as a whole`,
  );
  return least;
}

/** S3 bills the rest of it for what moves on sooner, and out of infrequent access it moves nothing sooner. */
const leastDaysIn = (storageClass: StorageClass) => Math.max(1, minimumDaysOf(storageClass));

/** What S3 refuses, or what cannot be meant. */
function orderProblems({ transitions, expireAfterDays }: LifecycleSettings): string[] {
  return transitions.flatMap(({ afterDays, storageClass }, index) => {
    const before = transitions[index - 1];
    const problems: string[] = [];
    if (isInfrequentClass(storageClass) && afterDays < INFREQUENT_DAYS) {
      problems.push(`${storageClass} after ${afterDays} days: S3 moves nothing there before ${INFREQUENT_DAYS}`);
    }
    if (before && depthOf(storageClass) <= depthOf(before.storageClass)) {
      problems.push(`${storageClass} comes after ${before.storageClass}: S3 moves objects in the other direction only`);
    }
    const least = before ? before.afterDays + leastDaysIn(before.storageClass) : 0;
    if (before && afterDays < least) {
      const paid = minimumDaysOf(before.storageClass);
      problems.push(
        `${storageClass} after ${afterDays} days: of ${before.storageClass} ${paid} days are paid for, so that ${least} is the least`,
      );
    }
    if (expireAfterDays !== null && afterDays >= expireAfterDays) {
      problems.push(`${storageClass} after ${afterDays} days, when everything has expired (\`expireAfter\`)`);
    }
    return problems;
  });
}

/** An expiry by age deletes the full under increments that are kept, and what a promise is made of. */
function expiryProblems({ expireAfterDays }: LifecycleSettings, policy: RetentionPolicy): string[] {
  if (expireAfterDays === null) return [];
  return ARTIFACT_KINDS.flatMap((kind) => {
    const own = keptSeconds(policy, kindOf(kind));
    const needed = neededDays(kind, policy);
    if (needed === null || needed <= expireAfterDays) return [];
    const because =
      own !== null && wholeDays(own) === needed
        ? `retention.${kindOf(kind)} keeps them for ${needed}`
        : `what builds on them, or is replayed on them, is kept for ${needed}: a chain would be torn`;
    return [`\`expireAfter\` would delete data/${kind}/ after ${expireAfterDays} days, and ${because}`];
  });
}

/** The rules that do it. Catalogue, keys, log and everything else that a restore needs at once are in none of them. */
export function rulesOf(
  root: string,
  { kinds }: Pick<WantedLifecycle, 'kinds'>,
  { orphansAfterSeconds }: Pick<RetentionSettings, 'orphansAfterSeconds'>,
  smallObjectsMove: boolean,
): LifecycleRule[] {
  const nothing = { isEnabled: true, largerThanBytes: null, isByTag: false, abortUploadsDays: null, others: [] };
  const perKind = kinds
    .filter(({ moves, expireDays }) => moves.length > 0 || expireDays !== null)
    .map(({ kind, moves, expireDays }): LifecycleRule => ({
      ...nothing,
      id: ruleId(root, kind),
      prefix: `${root}data/${kind}/`,
      // What is smaller costs more in an archive class than outside it: the bucket's own default, unless it was changed.
      largerThanBytes: smallObjectsMove && moves.length > 0 ? SMALL_BYTES : null,
      moves,
      expires: expireDays === null ? null : { days: expireDays },
    }));
  const uploads: LifecycleRule = {
    ...nothing,
    id: ruleId(root, 'uploads'),
    prefix: root,
    moves: [],
    expires: null,
    // The sweep of a backup's own attempts and retention come first: this is for what neither of them sees any more.
    abortUploadsDays: wholeDays(orphansAfterSeconds) + 4,
  };
  return [...perKind, uploads];
}

/** S3's own limit, in its words "128 KB". */
const SMALL_BYTES = 128 * 2 ** 10;
