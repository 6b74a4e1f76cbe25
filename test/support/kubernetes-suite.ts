import { whyNoApiServer } from '../../lab/kubernetes/build';

/** It is ESM alone: a test imports it when it runs. */
export type KubernetesClient = typeof import('@kubernetes/client-node', { with: { 'resolution-mode': 'import' } });

const whyNot = whyNoApiServer();

/** `describe`; on a person's machine without Go its tests are listed as skipped. In CI a missing server fails the build. */
export const kubernetesSuite = whyNot && process.env['CI'] !== 'true' ? describe.skip : describe;
