import type { ServiceController } from '../../core/services';
import { createKubernetesServices } from './kubernetes';
import { createProcessServices } from './process';
import type { ServicesSettings } from './settings';

/** Connects to nothing yet: the first call does. */
export function createServices(settings: ServicesSettings): ServiceController {
  return settings.kind === 'kubernetes' ? createKubernetesServices(settings) : createProcessServices(settings);
}
