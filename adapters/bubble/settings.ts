import { z } from 'zod';
import { clusterAccess, namespaceField } from '../services/settings';
import { secretField, timeoutSecondsField } from '../settings-fields';

const processBubbleSettings = z.strictObject({
  kind: z.literal('process'),
  /** The supervisor's address: `http://127.20.0.9:7070`. */
  url: z.url({ protocol: /^https?$/ }),
  token: secretField,
  /** What the supervisor calls it; none of the sites of the config. */
  site: z.string().regex(/^[a-z0-9][a-z0-9-]*$/),
  timeoutSeconds: timeoutSecondsField(30),
});

const kubernetesBubbleSettings = z.strictObject({
  kind: z.literal('kubernetes'),
  /** The namespace that an administrator has made for drills, and nothing else. */
  cluster: clusterAccess,
  /** The namespace of the same cluster whose Deployments are copied: that of the site that would take over. */
  services: namespaceField,
  /** Tries the connections that have to fail; needs Node, as drctl's own image has it. */
  image: z.string().min(1),
  /** The worker's address where pods reach it: `{env: POD_IP}`. */
  workerAddress: z.union([z.string().min(1), secretField]),
  /** How a network policy knows the workers, for plugins that know pods by their labels alone. */
  workers: z.strictObject({ namespace: namespaceField, labels: z.record(z.string(), z.string()) }).optional(),
  /** Set in every container; `{copy:<store>}`, `{host:<store>}` and `{port:<store>}` stand for the way to a copy. */
  env: z.record(z.string(), z.string()).default({}),
  timeoutSeconds: timeoutSecondsField(10),
});

/** Where the application's services start in a drill, with a way to the restored copies and to nothing else. */
export const settings = z.discriminatedUnion('kind', [processBubbleSettings, kubernetesBubbleSettings]);

export type ProcessBubbleSettings = z.output<typeof processBubbleSettings>;
export type KubernetesBubbleSettings = z.output<typeof kubernetesBubbleSettings>;
export type BubbleSettings = z.output<typeof settings>;
