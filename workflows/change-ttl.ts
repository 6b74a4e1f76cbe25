import type { ChangeTtlInput, ChangeTtlResult, LoweredTtl } from '../core/dns-moves';
import { recordLabel } from '../core/dns-moves';
import { anywhere, roleChange } from './proxies';
import { StepTable } from './step-table';

/**
 * Lowers the TTLs of the public names ahead of a planned move, so that caches forget the old site within seconds of it, or
 * gives them their old values back. What they were is kept in the control repository. After a move they come back by
 * themselves (see `settleDns`).
 */
export async function changeTtl({ application, ttlSeconds, requestedBy }: ChangeTtlInput): Promise<ChangeTtlResult> {
  const steps = new StepTable('ttl', application);
  steps.enter(ttlSeconds === null ? 'restoring' : 'lowering');
  const { application: app, activeSite, epoch } = await anywhere(application).describeApplication({ application });
  const at = roleChange(application, activeSite);
  const changed = await Promise.all(
    app.dns.map((target): Promise<LoweredTtl | null> => {
      const label = recordLabel(target);
      if (ttlSeconds === null) {
        return steps.run(
          `ttl:${label}`,
          `Restore the TTL of ${label}`,
          () => at.restoreTtl({ application, target, epoch }),
          (before) => (before ? `${before.previousTtlSeconds} s again` : 'it was not lowered'),
        );
      }
      return steps.run(
        `ttl:${label}`,
        `Lower the TTL of ${label} to ${ttlSeconds} s`,
        () => at.lowerTtl({ application, target, ttlSeconds, epoch, by: requestedBy }),
        ({ previousTtlSeconds, effectiveAt }) =>
          `was ${previousTtlSeconds} s; no cache holds it longer from ${effectiveAt} on`,
      );
    }),
  );
  steps.finish('completed');
  const names = changed
    .filter((each) => each !== null)
    .map(({ name, type, previousTtlSeconds, effectiveAt, ttlSeconds: lowered }) => ({
      name,
      type,
      previousTtlSeconds,
      ttlSeconds: ttlSeconds === null ? previousTtlSeconds : lowered,
      effectiveAt: ttlSeconds === null ? null : effectiveAt,
    }));
  return { names };
}
