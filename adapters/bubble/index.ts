import type { Bubble } from '../../core/drill';
import { createKubernetesBubble } from './kubernetes';
import { createProcessBubble } from './process';
import type { BubbleSettings } from './settings';

/** Connects to nothing yet: the first call does. */
export function createBubble(settings: BubbleSettings): Bubble {
  return settings.kind === 'kubernetes' ? createKubernetesBubble(settings) : createProcessBubble(settings);
}
