import type { SiteFence } from '../../core/fencing';
import { createAgentFence } from './agent';
import { createCommandFence } from './command';
import { createKubernetesFence } from './kubernetes';
import type { FenceSettings } from './settings';

/**
 * `stores` are the application's stores: what evidence about a whole site covers.
 * Connects to nothing yet: the first call does.
 */
export function createSiteFence(settings: FenceSettings, stores: readonly string[]): SiteFence {
  if (settings.kind === 'agent') return createAgentFence(settings, stores);
  if (settings.kind === 'command') return createCommandFence(settings, stores);
  return createKubernetesFence(settings, stores);
}
