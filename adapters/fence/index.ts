import type { SiteFence } from '../../core/fencing';
import { createAgentFence } from './agent';
import { createCommandFence } from './command';
import type { FenceSettings } from './settings';

/**
 * `stores` are the application's stores: what evidence about a whole site covers.
 * Connects to nothing yet: the first call does.
 */
export function createSiteFence(settings: FenceSettings, stores: readonly string[]): SiteFence {
  return settings.kind === 'agent' ? createAgentFence(settings, stores) : createCommandFence(settings, stores);
}
