import type { V1Container, V1Deployment, V1PodSpec } from '@kubernetes/client-node';
import { failure } from '../../core/errors';
import type { OpenBubble } from './kubernetes-policy';

/** On everything that a drill makes in its namespace; its value is the drill's id. */
export const MARK = 'drctl.io/drill';

export interface CopyOf extends Pick<OpenBubble, 'drillId' | 'doors'> {
  readonly replicas: number;
  /** Set in every container; `{copy:<store>}`, `{host:<store>}` and `{port:<store>}` stand for the address of a copy. */
  readonly env: Readonly<Record<string, string>>;
}

/**
 * The Deployment as a drill starts it: its pods as they are, with the addresses of the copies, the mark of the drill, and no
 * account in the cluster. Throws ConfigInvalid for pods that no network policy confines.
 */
export function copiedDeployment(
  { metadata, spec }: V1Deployment,
  { drillId, replicas, ...copy }: CopyOf,
): V1Deployment {
  const name = metadata?.name ?? '';
  if (!spec?.template.spec) throw failure('ConfigInvalid', `deployment ${name} has no template`);
  if (spec.template.spec.hostNetwork)
    throw failure(
      'ConfigInvalid',
      `the pods of deployment ${name} use the network of their node, where nothing isolates them`,
      {
        next: 'Let them have a network of their own, or leave the stages out with `drill.without`.',
      },
    );
  const labels = { ...spec.template.metadata?.labels, [MARK]: drillId };
  const annotations = spec.template.metadata?.annotations;
  return {
    metadata: { name, labels: { ...metadata?.labels, [MARK]: drillId } },
    spec: {
      replicas,
      selector: spec.selector,
      template: {
        metadata: { labels, ...(annotations ? { annotations } : {}) },
        spec: confined(spec.template.spec, copy),
      },
    },
  };
}

function confined(spec: V1PodSpec, copy: Pick<CopyOf, 'doors' | 'env'>): V1PodSpec {
  const { serviceAccount: _old, serviceAccountName: _name, ...own } = spec;
  const env = Object.entries(copy.env).map(([name, value]) => ({ name, value: filled(value, copy.doors) }));
  const pointed = (container: V1Container): V1Container => {
    const kept = (container.env ?? []).filter(({ name }) => copy.env[name] === undefined);
    return Object.assign({}, container, { env: [...kept, ...env] });
  };
  return {
    ...own,
    automountServiceAccountToken: false,
    containers: spec.containers.map(pointed),
    ...(spec.initContainers ? { initContainers: spec.initContainers.map(pointed) } : {}),
  };
}

function filled(value: string, doors: CopyOf['doors']): string {
  return value.replaceAll(/\{(copy|host|port):([a-z0-9-]+)\}/g, (_, what: string, store: string) => {
    const at = doors[store];
    if (!at)
      throw failure('ConfigInvalid', `drill.bubble.env names a copy of "${store}", which this drill has not made`);
    return what === 'host' ? at.host : what === 'port' ? `${at.port}` : `${at.host}:${at.port}`;
  });
}
