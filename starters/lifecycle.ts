import { applyLifecycle, type LifecyclePlan, planLifecycle, type RuleChange } from '../activities/lifecycle-look';
import type { OpenApplication } from '../activities/deps';
import { countOf } from '../core/clock';
import { failure } from '../core/errors';
import { type BackupBucket, isOurs, type LifecycleRule } from '../core/lifecycle/rules';
import { type KindLifecycle, wantedLifecycle } from '../core/lifecycle/wanted';
import { beganAt, isFullId } from '../core/layout';
import { quietContext } from './quiet-context';
import type { Session } from './session';
import { tableLines } from './table';

/** What `drctl lifecycle show --output json` has for each bucket. */
export interface ShownBucket {
  readonly repository: string;
  readonly location: string;
  readonly rules: readonly (LifecycleRule & { readonly isOurs: boolean })[];
}

/** The rules that the buckets have now. */
export async function showLifecycle(session: Session, named: readonly string[]): Promise<ShownBucket[]> {
  const shown: ShownBucket[] = [];
  for (const { repository, location, lifecycle } of await bucketsOf(session, named)) {
    const { rules } = await lifecycle.read();
    const owned = rules.map((rule) => ({ ...rule, isOurs: isOurs(lifecycle.root, rule) }));
    shown.push({ repository, location, rules: owned });
  }
  return shown;
}

export async function plansOf(session: Session, named: readonly string[]): Promise<LifecyclePlan[]> {
  const open = await session.open();
  const plans: LifecyclePlan[] = [];
  for (const bucket of await bucketsOf(session, named))
    plans.push(await planLifecycle(open, bucket, session.io.now().getTime(), quietContext()));
  return plans;
}

/** Applies what has no problem in any of the buckets; else throws LifecycleRefused and changes none. */
export async function applyPlans(session: Session, named: readonly string[]): Promise<LifecyclePlan[]> {
  const open = await session.open();
  const plans = await plansOf(session, named);
  requireHarmless(plans);
  for (const bucket of await bucketsOf(session, named)) {
    const { changes } = plans.find(({ repository }) => repository === bucket.repository) as LifecyclePlan;
    if (changes.some(isChange)) await applyLifecycle(open, bucket);
  }
  return plans;
}

/** Throws LifecycleRefused that has every reason. */
export function requireHarmless(plans: readonly LifecyclePlan[]): void {
  const problems = plans.flatMap(({ location, problems: all }) => all.map((each) => `${location}: ${each}`));
  if (problems.length === 0) return;
  throw failure('LifecycleRefused', ['these rules cannot be applied', ...problems].join('\n  '));
}

/** When S3 itself deletes a backup, whatever is held; null where it does not. */
export function expiresAt(open: OpenApplication, store: string, backupId: string): Date | null {
  const { lifecycle, retention } = open;
  if (!lifecycle) return null;
  const kind = open.engine(store).artifactKind(isFullId(backupId) ? 'full' : 'incr');
  const { kinds } = wantedLifecycle(lifecycle, retention.policy, 'STANDARD');
  const days = kinds.find((each) => each.kind === kind)?.expireDays ?? null;
  return days === null ? null : new Date(beganAt(backupId) + days * 86_400_000);
}

const isChange = ({ change }: RuleChange) => change === 'added' || change === 'changed' || change === 'removed';

async function bucketsOf(session: Session, named: readonly string[]): Promise<readonly BackupBucket[]> {
  const buckets = (await session.open()).buckets();
  if (buckets.length === 0) {
    throw failure('NotFound', `no store of ${session.config.file} has its backups in a repository of kind s3`, {
      next: "Lifecycle rules are S3's; other repositories keep everything where it is.",
    });
  }
  session.requireKnown(
    'bucket of backups',
    named,
    buckets.map(({ repository }) => repository),
  );
  return buckets.filter(({ repository }) => named.length === 0 || named.includes(repository));
}

export function showLines(buckets: readonly ShownBucket[]): string[] {
  return buckets.flatMap(({ repository, location, rules }, index) => [
    ...(index > 0 ? [''] : []),
    `${repository}: ${location}, ${countOf(rules.length, 'rule')}`,
    ...(rules.length > 0
      ? tableLines(
          ['rule', 'of', 'objects', 'what it does'],
          rules.map((rule) => [
            rule.id || '(no id)',
            rule.isOurs ? 'drctl' : 'others',
            objectsText(rule),
            `${rule.isEnabled ? '' : 'DISABLED: '}${doesText(rule)}`,
          ]),
        )
      : []),
  ]);
}

export function planLines(plans: readonly LifecyclePlan[], isApplied: boolean): string[] {
  return plans.flatMap((plan, index) => [
    ...(index > 0 ? [''] : []),
    `${plan.repository}: ${plan.location}, backups of ${plan.stores.join(', ')}`,
    ...(plan.kinds.length > 0 ? tableLines(['data', 'as it grows older'], plan.kinds.map(kindRow)) : []),
    ...plan.kinds.flatMap(({ kind, notes }) => notes.map((note) => `  ${kind}: ${note}`)),
    ...(plan.changes.length > 0
      ? tableLines(['rule', 'change', 'what it does'], plan.changes.map(changeRow))
      : ['  The bucket has no rules, and the config has no `lifecycle`.']),
    ...plan.problems.map((problem) => `  ! ${problem}`),
    ...endLines(plan, isApplied),
  ]);
}

function endLines({ changes, problems }: LifecyclePlan, isApplied: boolean): string[] {
  if (problems.length > 0) return ['REFUSED as long as this is so; nothing was changed.'];
  if (changes.length === 0) return ['Nothing to change.'];
  if (!changes.some(isChange)) return ['The bucket has these rules; nothing to change.'];
  return [
    isApplied ? 'Applied. S3 looks at objects once a day.' : 'Nothing was changed; `drctl lifecycle apply` does it.',
  ];
}

function kindRow({ kind, moves, expireDays }: KindLifecycle): string[] {
  const steps = moves.map(({ days, storageClass }) => `${storageClass} ${days}d`);
  const end = expireDays === null ? [] : [`deleted ${expireDays}d`];
  return [`data/${kind}/`, [...steps, ...end].join(' → ') || 'stays as it is'];
}

function changeRow({ rule, change, before }: RuleChange): string[] {
  const does = doesText(rule);
  return [rule.id || '(no id)', change, before === null ? does : `${does} (was: ${doesText(before)})`];
}

function objectsText({ prefix, isByTag, largerThanBytes }: LifecycleRule): string {
  const some = [...(isByTag ? ['with tags'] : []), ...(largerThanBytes === null ? [] : [`> ${largerThanBytes} B`])];
  return [prefix === '' ? 'all' : prefix, ...some].join(' ');
}

function doesText({ moves, expires, abortUploadsDays, others }: LifecycleRule): string {
  const when = (days: number | null) => (days === null ? 'at a date' : `after ${days}d`);
  const does = [
    ...moves
      .toSorted((a, b) => (a.days ?? 0) - (b.days ?? 0))
      .map(({ days, storageClass }) => `${storageClass} ${when(days)}`),
    ...(expires === null ? [] : [`deletes ${when(expires.days)}`]),
    ...(abortUploadsDays === null ? [] : [`aborts uploads ${when(abortUploadsDays)}`]),
    ...others,
  ];
  return does.join(', ') || 'nothing';
}
