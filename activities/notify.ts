import { type Notification, SEVERITIES, type Severity } from '../core/notify';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export interface Delivery {
  readonly channel: string;
  readonly delivered: boolean;
  readonly problem: string | null;
}

/** A channel that takes longer has failed; shorter than the step that waits for all of them. */
const CHANNEL_MILLISECONDS = 20_000;

export interface NotifyInput extends Notification {
  /** Only these; every channel that wants news of this severity where it is left out. */
  readonly channels?: readonly string[];
}

export function createNotifyActivities(deps: ActivityDeps) {
  return {
    /**
     * Tells every channel that wants news of this severity. A channel that fails or hangs never blocks anything: its failure is
     * in the result, where the report and the status show it. Repeated deliveries carry the same id.
     */
    async notify({ channels, ...news }: NotifyInput): Promise<Delivery[]> {
      return withCallContext((ctx) => {
        const wanted = deps
          .open(news.application)
          .notifiers.filter(({ name }) => channels?.includes(name) ?? true)
          .filter(({ leastSeverity }) => isAtLeast(news.concerns ?? news.severity, leastSeverity));
        return Promise.all(
          wanted.map(async (notifier): Promise<Delivery> => {
            try {
              await within(CHANNEL_MILLISECONDS, (signal) => notifier.send(news, { ...ctx, signal }), ctx.signal);
              return { channel: notifier.name, delivered: true, problem: null };
            } catch (error) {
              const problem = error instanceof Error ? error.message : String(error);
              return { channel: notifier.name, delivered: false, problem };
            }
          }),
        );
      });
    },
  };
}

const isAtLeast = (severity: Severity, least: Severity) => SEVERITIES.indexOf(severity) >= SEVERITIES.indexOf(least);

/** Also for a channel that does not heed its signal: nobody waits for it any longer. */
async function within<T>(
  milliseconds: number,
  send: (signal: AbortSignal) => Promise<T>,
  until: AbortSignal,
): Promise<T> {
  const timeout = AbortSignal.timeout(milliseconds);
  const late = new Promise<never>((_, reject) => {
    timeout.addEventListener('abort', () => reject(new Error(`no answer within ${milliseconds / 1_000} s`)), {
      once: true,
    });
  });
  return Promise.race([send(AbortSignal.any([until, timeout])), late]);
}
