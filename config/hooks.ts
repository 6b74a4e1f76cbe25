import { z } from 'zod';
import { hookAction } from '../adapters/hooks/settings';
import { type Hook, HOOK_POINTS } from '../core/hooks';
import { duration, name } from './values';

const point = z.enum(HOOK_POINTS).optional();

const hook = z
  .strictObject({
    before: point.meta({ description: 'The chapter that it runs before' }),
    after: point.meta({ description: 'The chapter that it runs after' }),
    roleChanges: z
      .array(z.enum(['failover', 'switchover']))
      .min(1)
      .default(['failover', 'switchover']),
    at: z.enum(['new', 'old']).default('new').meta({
      description: "Whose worker runs it: the new site's, or the old one's, which a failover may not have any more",
    }),
    run: hookAction,
    undo: hookAction.optional().meta({
      description: 'Takes it back where the run turns back; not possible for what runs after the promotion',
    }),
    within: duration.default({ text: '30s', milliseconds: 30_000, seconds: 30 }).meta({ description: 'Of one try' }),
    attempts: z.int().min(1).max(20).default(1),
    onFailure: z.enum(['stop', 'continue']).default('stop').meta({
      description: '`stop`: people decide (retry, skip, abort); `continue`: it is told, and nothing waits',
    }),
  })
  .superRefine(({ before, after, undo }, context) => {
    if ((before === undefined) === (after === undefined))
      context.addIssue({ code: 'custom', path: ['before'], message: 'a hook runs either before or after a chapter' });
    const turnsBack = before === 'fence' || after === 'fence' || before === 'promotion';
    if (undo && !turnsBack)
      context.addIssue({ code: 'custom', path: ['undo'], message: 'behind the promotion nothing is undone any more' });
  });

export const hookSettings = z
  .record(name, hook)
  .default({})
  .meta({ description: 'Programs and webhooks of your own that role changes call on their way' });

/** What workflows may know of them. */
export function hooksOf(hooks: z.output<typeof hookSettings>): Hook[] {
  return Object.entries(hooks).map(
    ([named, { before, after, roleChanges, at, run, undo, within, attempts, onFailure }]) => ({
      name: named,
      roleChanges,
      moment: before === undefined ? 'after' : 'before',
      point: before ?? after ?? 'promotion',
      at,
      does: 'argv' in run ? 'command' : 'webhook',
      withinSeconds: within.seconds,
      attempts,
      onFailure,
      undoes: undo !== undefined,
    }),
  );
}
