import { z } from 'zod';
import { clusterAccess } from '../services/settings';
import { secretField, timeoutSecondsField } from '../settings-fields';

const agentFenceSettings = z.strictObject({
  kind: z.literal('agent'),
  /** The supervisor's address, reachable while the site is lost: never at that site. */
  url: z.url({ protocol: /^https?$/ }),
  token: secretField,
  /** Killing and seeing gone takes the agent up to ten seconds a process. */
  timeoutSeconds: timeoutSecondsField(30),
});

const commandFenceSettings = z.strictObject({
  kind: z.literal('command'),
  /** A program and its arguments; no shell reads them. docs/fencing.md says what it is given and must answer. */
  argv: z.array(z.string()).min(1),
  /** Environment variables handed on to it, such as AWS_PROFILE; PATH, HOME and LANG always are. */
  environment: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable')).default([]),
  timeoutSeconds: timeoutSecondsField(60),
});

const objectName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, 'must be the name of a Kubernetes object');

const kubernetesFenceSettings = z.strictObject({
  kind: z.literal('kubernetes'),
  /** By site: the cluster and namespace of its databases, and of which StatefulSets each store consists. */
  sites: z.record(
    z.string(),
    z.strictObject({ cluster: clusterAccess, stores: z.record(z.string(), z.array(objectName).min(1)) }),
  ),
  /** The ConfigMap that keeps the fence; one each where applications share a namespace. */
  marker: objectName.default('drctl-fence'),
  /** Of one request to the API. */
  timeoutSeconds: timeoutSecondsField(10),
  /** How long pods may take to end before a person is asked; a step of a role change itself ends after 90 s. */
  goneWithinSeconds: z.number().positive().max(75).default(60),
});

/** What can make a whole site unable to write. */
export const settings = z.discriminatedUnion('kind', [
  agentFenceSettings,
  commandFenceSettings,
  kubernetesFenceSettings,
]);

export type AgentFenceSettings = z.output<typeof agentFenceSettings>;
export type CommandFenceSettings = z.output<typeof commandFenceSettings>;
export type KubernetesFenceSettings = z.output<typeof kubernetesFenceSettings>;
export type FenceSettings = z.output<typeof settings>;
