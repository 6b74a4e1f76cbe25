import { isFrozenClass } from '../storage-classes';
import type { LifecycleRule } from './rules';
import type { KindLifecycle } from './wanted';

/**
 * What a rule that somebody else made would do to what drctl stores below `root`: sentences, empty where it does no harm.
 * Rules by tag never meet an object of ours; those about old versions, or unfinished uploads after days, harm nothing.
 */
export function harmOf(rule: LifecycleRule, root: string, kinds: readonly KindLifecycle[]): string[] {
  if (!rule.isEnabled || rule.isByTag) return [];
  if (!root.startsWith(rule.prefix) && !rule.prefix.startsWith(root)) return [];
  const where = rule.prefix === '' ? 'the whole bucket' : rule.prefix;
  const name = `the rule "${rule.id}" (${where})`;
  const allowed = kinds.filter(({ kind }) => rule.prefix.startsWith(`${root}data/${kind}/`));
  const harm: string[] = [];
  if (rule.expires) {
    const { days } = rule.expires;
    const isLate = days !== null && allowed.some(({ expireDays }) => expireDays !== null && days >= expireDays);
    if (!isLate) {
      const when = days === null ? 'at a date' : `after ${days} days`;
      harm.push(`${name} deletes ${when} what retention keeps, manifests and keys as well where it covers them`);
    }
  }
  for (const { days, storageClass } of rule.moves.filter((each) => isFrozenClass(each.storageClass))) {
    const isLate = allowed.some(({ moves }) =>
      moves.some((own) => isFrozenClass(own.storageClass) && days !== null && days >= own.days),
    );
    if (isLate) continue;
    harm.push(`${name} moves to ${storageClass} what has to be read at once: a restore waits hours for it`);
  }
  if (rule.abortUploadsDays !== null && rule.abortUploadsDays < 2) {
    harm.push(`${name} aborts uploads after ${rule.abortUploadsDays} days: one that is resumed may take as long`);
  }
  return harm;
}
