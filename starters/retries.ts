import type { Client } from '@temporalio/client';

/** A first failure is often gone at the next try; one that comes back is why the run takes so long. */
const WORTH_TELLING_ATTEMPT = 3;

/**
 * What fails and is tried again, in the run and in the runs that it started: one line each. Steps wait patiently for a
 * repository or a server that is down, and a person who watches has to know for what.
 */
export async function retriesOf(client: Client, workflowId: string): Promise<string[]> {
  const own = await client.workflow.getHandle(workflowId).describe();
  const children = await Promise.all(
    (own.raw.pendingChildren ?? []).map((child) =>
      client.workflow.getHandle(child.workflowId ?? '', child.runId ?? undefined).describe(),
    ),
  );
  return [own, ...children].flatMap(({ raw }) =>
    (raw.pendingActivities ?? [])
      .filter(({ attempt, lastFailure }) => lastFailure && (attempt ?? 0) >= WORTH_TELLING_ATTEMPT)
      .map(({ lastFailure }) => `tried again and again: ${lastFailure?.message}`),
  );
}
