import { z } from 'zod';
import { secretField } from '../settings-fields';

const command = z.strictObject({
  argv: z.array(z.string()).min(1).meta({ description: 'A program and its arguments; no shell reads them' }),
  environment: z
    .array(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of a variable'))
    .default([])
    .meta({
      description: 'Variables of the worker that it is given besides PATH, HOME and LANG: the place for secrets',
    }),
});

const webhook = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).meta({ description: 'Gets the call as JSON by POST; any 2xx is a success' }),
  token: secretField.optional().meta({ description: 'Sent as `Authorization: Bearer …`' }),
  signingKey: secretField
    .optional()
    .meta({ description: 'Signs each request as https://www.standardwebhooks.com says' }),
});

/** What a hook does, or what takes it back. */
export const hookAction = z.union([command, webhook]);

export type HookAction = z.output<typeof hookAction>;
export type HookActions = Readonly<
  Record<string, { readonly run: HookAction; readonly undo?: HookAction | undefined }>
>;
