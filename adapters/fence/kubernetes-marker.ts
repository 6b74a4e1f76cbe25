import type { V1ConfigMap } from '@kubernetes/client-node';
import { z } from 'zod';
import type { CallContext } from '../../core/call';
import { failure, hasCode } from '../../core/errors';
import type { Cluster } from '../services/kubernetes-cluster';

/** What a ConfigMap keeps of a site's fence. */
export interface FenceMarker {
  readonly epoch: number;
  /** When the fence of this epoch was set. */
  readonly at: string;
  /** What each StatefulSet had before. */
  readonly replicas: Readonly<Record<string, number>>;
  readonly lifted: boolean;
}

export interface StoredMarker extends FenceMarker {
  readonly resourceVersion: string;
}

/** Values of a ConfigMap are text. */
const stored = z.object({
  epoch: z.coerce.number().int().min(0),
  at: z.string().min(1),
  replicas: z
    .string()
    .transform((text) => JSON.parse(text) as unknown)
    .pipe(z.record(z.string(), z.int().min(0))),
  lifted: z.enum(['true', 'false']).transform((text) => text === 'true'),
});

/** Null where the site was never fenced. */
export async function readMarker(cluster: Cluster, name: string, ctx: CallContext): Promise<StoredMarker | null> {
  const place = { name, namespace: cluster.namespace };
  let found: V1ConfigMap;
  try {
    found = await cluster.call(`reading ConfigMap ${name}`, ctx, (_, options, core) =>
      core.readNamespacedConfigMap(place, options),
    );
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  }
  try {
    return { ...stored.parse(found.data ?? {}), resourceVersion: found.metadata?.resourceVersion ?? '' };
  } catch (cause) {
    // Overwriting it could lift a newer role change's fence.
    throw failure('FencingUnconfirmed', `ConfigMap ${name} in ${cluster.namespace} is not one of a fence`, {
      next: 'Look at what it is; another name for the fence is `fence.marker` in the config.',
      cause,
    });
  }
}

/** Of two who write at the same moment one is refused with TargetUnreachable, and finds the other's when it tries again. */
export async function writeMarker(
  cluster: Cluster,
  name: string,
  marker: FenceMarker,
  current: StoredMarker | null,
  ctx: CallContext,
): Promise<void> {
  const { namespace } = cluster;
  const { epoch, at, replicas, lifted } = marker;
  const data = { epoch: `${epoch}`, at, replicas: JSON.stringify(replicas), lifted: `${lifted}` };
  if (!current) {
    await cluster.call(`creating ConfigMap ${name}`, ctx, (_, __, core, creating) =>
      core.createNamespacedConfigMap({ namespace, body: { metadata: { name }, data } }, creating),
    );
    return;
  }
  const { resourceVersion } = current;
  await cluster.call(`writing ConfigMap ${name}`, ctx, (_, options, core) =>
    core.patchNamespacedConfigMap({ name, namespace, body: { metadata: { resourceVersion }, data } }, options),
  );
}
