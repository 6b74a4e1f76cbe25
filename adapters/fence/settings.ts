import { z } from 'zod';
import { secretField, timeoutSecondsField } from '../settings-fields';

export const agentFenceSettings = z.strictObject({
  kind: z.literal('agent'),
  /** The supervisor's address, reachable while the site is lost: never at that site. */
  url: z.url({ protocol: /^https?$/ }),
  token: secretField,
  /** Killing and seeing gone takes the agent up to ten seconds a process. */
  timeoutSeconds: timeoutSecondsField(30),
});

export const commandFenceSettings = z.strictObject({
  kind: z.literal('command'),
  /** A program and its arguments; no shell reads them. docs/fencing.md says what it is given and must answer. */
  argv: z.array(z.string()).min(1),
  /** Environment variables handed on to it, such as AWS_PROFILE; PATH, HOME and LANG always are. */
  environment: z.array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable')).default([]),
  timeoutSeconds: timeoutSecondsField(60),
});

/** What can make a whole site unable to write. */
export const settings = z.discriminatedUnion('kind', [agentFenceSettings, commandFenceSettings]);

export type AgentFenceSettings = z.output<typeof agentFenceSettings>;
export type CommandFenceSettings = z.output<typeof commandFenceSettings>;
export type FenceSettings = z.output<typeof settings>;
