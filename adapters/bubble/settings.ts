import { z } from 'zod';
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

/** Where the application's services start in a drill, with a way to the restored copies and to nothing else. */
export const settings = z.discriminatedUnion('kind', [processBubbleSettings]);

export type ProcessBubbleSettings = z.output<typeof processBubbleSettings>;
export type BubbleSettings = z.output<typeof settings>;
