import { Client, Connection } from '@temporalio/client';
import { workflowIds } from '../core/names';
import { figure, type Figure } from './figure';

/** Issue "Failover and switchover as proof": what orchestration may add to each step's own work. */
const AIM_MILLISECONDS = 100;

/**
 * What a role change waited for besides its steps' own work, for each activity, in milliseconds: until a worker took it, and from
 * its answer until the workflow had taken that. Those that were tried again are left out: between tries they wait on purpose.
 */
export async function orchestrationMilliseconds(address: string): Promise<number[]> {
  const connection = await Connection.connect({ address });
  try {
    const handle = new Client({ connection }).workflow.getHandle(workflowIds.roleChange('ultramarket'));
    const events = (await handle.fetchHistory()).events ?? [];
    const at = (index: number) => {
      const { seconds, nanos } = events[index]?.eventTime ?? {};
      return Number(seconds ?? 0) * 1_000 + (nanos ?? 0) / 1e6;
    };
    const indexOf = new Map(events.map(({ eventId }, index) => [String(eventId), index]));
    return events.flatMap(({ activityTaskCompletedEventAttributes: completed }, ended) => {
      if (!completed) return [];
      const scheduled = indexOf.get(String(completed.scheduledEventId)) ?? ended;
      const started = indexOf.get(String(completed.startedEventId)) ?? ended;
      if ((events[started]?.activityTaskStartedEventAttributes?.attempt ?? 1) > 1) return [];
      const taken = events.findIndex((each, index) => index > ended && each.workflowTaskCompletedEventAttributes);
      return taken === -1 ? [] : [at(started) - at(scheduled) + at(taken) - at(ended)];
    });
  } finally {
    await connection.close();
  }
}

export function orchestrationFigure(kind: string, milliseconds: readonly number[]): Figure {
  const sorted = milliseconds.toSorted((a, b) => a - b);
  const share = (of: number) => `${Math.round(sorted[Math.floor((sorted.length - 1) * of)] ?? 0)} ms`;
  return figure({
    ...{ name: `${kind}: what orchestration adds to a step`, unit: 'ms', values: sorted },
    aim: { valueAtMost: AIM_MILLISECONDS },
    note: `${sorted.length} steps; 90 % of them ${share(0.9)} or less, the most ${share(1)}: a dozen begin at once and wait for the cores`,
  });
}
