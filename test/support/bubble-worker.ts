import { createBubble } from '../../adapters/bubble';
import { settings } from '../../adapters/bubble/settings';
import type { Bubble } from '../../core/drill';
import { testContext } from './call-context';

/** What a worker of a drill is told to do: its bubble, and the service that starts in it. */
export interface BubbleWork {
  readonly bubble: object;
  readonly request: Parameters<Bubble['open']>[0];
  readonly service: string;
}

/** A worker that opens a bubble, starts a service in it and lives on, until somebody kills it: node -r typescript-hook.cjs <this file> <its work> */
async function work({ bubble: given, request, service }: BubbleWork): Promise<void> {
  const ctx = testContext();
  const bubble = createBubble(settings.parse(given));
  await bubble.open(request, ctx);
  await bubble.scale(service, 1, ctx);
}

void work(JSON.parse(process.argv[2] ?? '') as BubbleWork);
