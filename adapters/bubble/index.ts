import type { Bubble } from '../../core/drill';
import { createProcessBubble } from './process';
import type { BubbleSettings } from './settings';

/** Connects to nothing yet: the first call does. */
export function createBubble(settings: BubbleSettings): Bubble {
  return createProcessBubble(settings);
}
