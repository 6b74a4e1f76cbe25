import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import type {
  AppsV1Api,
  ConfigurationOptions,
  CoreV1Api,
  KubeConfig,
  NetworkingV1Api,
  RequestContext,
  ResponseContext,
} from '@kubernetes/client-node';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import { kubernetesFailure } from './kubernetes-errors';
import type { ClusterAccess } from './settings';

type Client = typeof import('@kubernetes/client-node', { with: { 'resolution-mode': 'import' } });

/** One site's cluster, spoken to as the user of its kubeconfig or as the pod's service account. */
export interface Cluster {
  readonly namespace: string;
  /** The address of its API, for people. */
  readonly server: string;
  /**
   * Runs one API call under a deadline and turns what it throws into our errors. `what` is for the error message; `options`
   * are for reading and patching, `creating` for what is sent whole.
   */
  call<T>(
    what: string,
    ctx: Pick<CallContext, 'signal'>,
    act: (
      apps: AppsV1Api,
      options: ConfigurationOptions,
      core: CoreV1Api,
      creating: ConfigurationOptions,
      networking: NetworkingV1Api,
    ) => Promise<T>,
  ): Promise<T>;
}

/**
 * Reads the access; speaks to the cluster only in `call`. Throws ConfigInvalid when there is no usable access. `roleFile` is
 * the file below deploy/kubernetes that grants what its caller needs.
 */
export async function connectCluster(
  site: string,
  access: ClusterAccess,
  timeoutSeconds: number,
  roleFile = 'rbac-failover.yaml',
): Promise<Cluster> {
  // Loaded here because it costs a second and only those who run on Kubernetes should pay; an ES module besides.
  const client = await import('@kubernetes/client-node');
  const config = await loadConfig(client, site, access);
  const server = config.getCurrentCluster()?.server ?? 'an unnamed server';
  const apps = config.makeApiClient(client.AppsV1Api);
  const core = config.makeApiClient(client.CoreV1Api);
  const networking = config.makeApiClient(client.NetworkingV1Api);

  return {
    namespace: access.namespace,
    server,
    async call(what, ctx, act) {
      const deadline = AbortSignal.timeout(timeoutSeconds * 1_000);
      const signal = AbortSignal.any([ctx.signal, deadline]);
      try {
        signal.throwIfAborted();
        // Merge patch must be asked for: the generated client prefers JSON patch.
        const options = requestOptions(client, signal, client.PatchStrategy.MergePatch);
        const creating = requestOptions(client, signal, 'application/json');
        // Raced, because a kubeconfig's credential program runs before the request and does not know the signal.
        return await Promise.race([act(apps, options, core, creating, networking), rejectOnAbort(signal)]);
      } catch (error) {
        ctx.signal.throwIfAborted();
        const where = `namespace ${access.namespace} of ${server} (site ${site})`;
        throw kubernetesFailure(error, `${what} in ${where}`, deadline.aborted ? timeoutSeconds : null, roleFile);
      }
    },
  };
}

async function loadConfig(
  client: Client,
  site: string,
  { kubeconfig, context, inCluster }: ClusterAccess,
): Promise<KubeConfig> {
  const config = new client.KubeConfig();
  const where = kubeconfig === undefined ? 'the service account of this pod' : `kubeconfig ${kubeconfig}`;
  try {
    // Outside a pod the client would go on with the address "undefined".
    if (inCluster && !process.env['KUBERNETES_SERVICE_HOST']) throw new Error('this process does not run in a pod');
    if (inCluster) config.loadFromCluster();
    else config.loadFromString(await fs.readFile(kubeconfig as string, 'utf8'));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw failure('ConfigInvalid', `Kubernetes access of site ${site} by ${where}: ${why}`, { cause });
  }
  if (context !== undefined) config.setCurrentContext(context);
  if (!config.getCurrentCluster()) {
    const known =
      config
        .getContexts()
        .map(({ name }) => name)
        .join(', ') || 'none';
    const wanted = config.getCurrentContext() || 'current';
    throw failure(
      'ConfigInvalid',
      `Kubernetes access of site ${site} by ${where}: no context "${wanted}" (it has: ${known})`,
    );
  }
  return config;
}

/** The signal ends the request itself. */
function requestOptions(client: Client, signal: AbortSignal, contentType: string): ConfigurationOptions {
  const options = client.setHeaderOptions('Content-Type', contentType);
  const middleware = (options.middleware ?? []).map((each) => ({
    pre: (request: RequestContext) => {
      request.setSignal(signal);
      return each.pre(request);
    },
    post: (response: ResponseContext) => each.post(response),
  }));
  return { ...options, middleware };
}

async function rejectOnAbort(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await once(signal, 'abort');
  throw signal.reason;
}
