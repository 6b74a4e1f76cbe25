import { proxyActivities, type ActivityInterfaceFor, type ActivityOptions } from '@temporalio/workflow';
import type { Activities } from '../activities';

type Call = (...args: unknown[]) => Promise<unknown>;

/**
 * The activities, each call with a summary of what it is about (a store, a service, a site, a name): the Web UI shows it
 * beside the activity's type, where six "startService" would otherwise look alike.
 */
export function summarised(options: ActivityOptions): ActivityInterfaceFor<Activities> {
  const activities = proxyActivities<Record<string, Call>>(options);
  return new Proxy({} as ActivityInterfaceFor<Activities>, {
    get(_, type: string) {
      const activity = activities[type];
      return (...args: unknown[]) => {
        const summary = subjectOf(args[0]);
        return summary === null ? activity?.(...args) : activity?.executeWithOptions({ summary }, args);
      };
    },
  });
}

/** Names only: inputs hold nothing secret, but a summary is read at a glance. */
function subjectOf(input: unknown): string | null {
  const { prepared, check, target, record, store, service, site, title } = (input ?? {}) as {
    prepared?: { ref?: { store?: string; backupId?: string } };
    check?: { url?: string };
    target?: { name?: string };
    record?: { epoch?: number };
    store?: string;
    service?: string;
    site?: string;
    title?: string;
  };
  if (prepared?.ref) return `${prepared.ref.store} ${prepared.ref.backupId}`;
  if (record?.epoch !== undefined) return `epoch ${record.epoch}`;
  return check?.url ?? service ?? store ?? title ?? target?.name ?? site ?? null;
}
