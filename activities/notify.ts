import type { Notification } from '../core/notify';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export interface Delivery {
  readonly channel: string;
  readonly delivered: boolean;
  readonly problem: string | null;
}

export function createNotifyActivities(deps: ActivityDeps) {
  return {
    /**
     * Tells every channel. A channel that fails never blocks anything: its failure is in the result, where the report and
     * the status show it. Repeated deliveries carry the same id.
     */
    async notify(input: Notification): Promise<Delivery[]> {
      return withCallContext((ctx) =>
        Promise.all(
          deps.open(input.application).notifiers.map(async (notifier): Promise<Delivery> => {
            try {
              await notifier.send(input, ctx);
              return { channel: notifier.name, delivered: true, problem: null };
            } catch (error) {
              return {
                channel: notifier.name,
                delivered: false,
                problem: error instanceof Error ? error.message : String(error),
              };
            }
          }),
        ),
      );
    },
  };
}
