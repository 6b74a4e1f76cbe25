import { isIP } from 'node:net';
import type { V1NetworkPolicy, V1NetworkPolicyPeer } from '@kubernetes/client-node';
import type { HostAndPort } from '../../core/drill';
import { failure } from '../../core/errors';
import { MARK } from './kubernetes-copy';
import type { KubernetesBubbleSettings } from './settings';

/** The bubble is open while it is there. */
export const POLICY = 'drctl-drill';
const COPIES = 'drctl.io/copies';

export interface OpenBubble {
  readonly drillId: string;
  /** By store. */
  readonly copies: Readonly<Record<string, HostAndPort>>;
  /** By store: where the pods reach them. */
  readonly doors: Readonly<Record<string, HostAndPort>>;
}

/**
 * Of every pod of the namespace: to the copies, to each other, to the cluster's name servers, and nowhere else. What may reach
 * the pods is the administrator's to say.
 */
export function policyFor({ drillId, copies, doors }: OpenBubble, settings: KubernetesBubbleSettings): V1NetworkPolicy {
  const dns = { namespaceSelector: {}, podSelector: { matchLabels: { 'k8s-app': 'kube-dns' } } };
  return {
    metadata: {
      name: POLICY,
      labels: { [MARK]: drillId },
      annotations: { [COPIES]: JSON.stringify({ copies, doors }) },
    },
    spec: {
      podSelector: {},
      policyTypes: ['Egress'],
      egress: [
        { to: [{ podSelector: {} }] },
        { to: [dns], ports: ['UDP', 'TCP'].map((protocol) => ({ protocol, port: 53 })) },
        ...Object.entries(doors).map(([store, { host, port }]) => ({
          to: peersOf(store, host, settings),
          ports: [{ protocol: 'TCP', port }],
        })),
      ],
    },
  };
}

/** Some network plugins know a pod by its labels alone, others by its address. */
function peersOf(store: string, host: string, { workers }: KubernetesBubbleSettings): V1NetworkPolicyPeer[] {
  const version = isIP(host);
  if (version === 0)
    throw failure(
      'ConfigInvalid',
      `the copy of ${store} would be at ${host}, and a network policy knows addresses only`,
      {
        next: 'Give the address of the worker in `drill.bubble.workerAddress`: {env: POD_IP} in a pod.',
      },
    );
  const pods = workers && {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': workers.namespace } },
    podSelector: { matchLabels: workers.labels },
  };
  return [{ ipBlock: { cidr: `${host}/${version === 4 ? 32 : 128}` } }, ...(pods ? [pods] : [])];
}

/** What the policy was made for. */
export function openedBy({ metadata }: V1NetworkPolicy): OpenBubble {
  const made = JSON.parse(metadata?.annotations?.[COPIES] ?? '{"copies":{},"doors":{}}') as Omit<OpenBubble, 'drillId'>;
  return { drillId: metadata?.labels?.[MARK] ?? 'unknown', ...made };
}
