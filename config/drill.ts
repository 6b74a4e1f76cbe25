import { z } from 'zod';
import { DRILL_STAGES } from '../core/drill';
import { bubbleSettings } from './adapter-settings';
import { ttl, VALUE_OF } from './dns';
import { duration, name } from './values';

const isolatedName = z
  .strictObject({
    name: z.hostname().meta({ description: 'A name in the zone of `dns` that nobody uses, such as drill.example.com' }),
    type: z.enum(['A', 'AAAA', 'CNAME']).default('A'),
    ttl: ttl.default({ text: '5s', milliseconds: 5_000, seconds: 5 }),
    values: z.array(z.string().min(1)).min(1).meta({ description: 'Where the bubble is reached' }),
  })
  .superRefine(({ type, values }, context) =>
    values.forEach((value, index) => {
      if (VALUE_OF[type].is(value)) return;
      context.addIssue({ code: 'custom', path: ['values', index], message: VALUE_OF[type].wanted });
    }),
  );

const target = z
  .strictObject({
    name,
    store: name.optional().meta({ description: 'Kill the server of this store' }),
    service: name.optional().meta({ description: 'Kill the replicas of this service' }),
    site: name.optional().meta({
      description: 'Kill what runs at this site; left out: what the drill itself has started, in isolation',
    }),
    pods: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'On Kubernetes: the label selector of the pods, such as app=postgresql' }),
    evenActive: z.boolean().default(false).meta({ description: 'Kill it even while its site is active: production' }),
  })
  .refine(({ store, service }) => (store === undefined) !== (service === undefined), {
    error: 'name either a store or a service',
  })
  .refine(({ site, pods }) => site !== undefined || pods === undefined, {
    error: '`pods` are of a target with a site',
    path: ['pods'],
  })
  .refine(({ site, evenActive }) => site !== undefined || !evenActive, {
    error: '`evenActive` is for a target with a site',
    path: ['evenActive'],
  });

export const drillSettings = z
  .strictObject({
    type: z.enum(['partial_failover']).default('partial_failover'),
    notifyStakeholders: z.boolean().default(true).meta({
      description: 'Tell people of every drill through the notifications; false: only of one that failed',
    }),
    recoveryWithin: duration.meta({ description: 'The RTO validator fails a component that needs longer' }),
    without: z
      .array(z.enum(DRILL_STAGES))
      .default([])
      .meta({ description: 'Stages that are not held, and not missed in what a drill is worth' }),
    name: isolatedName.optional().meta({ description: 'The name whose failover is rehearsed' }),
    bubble: bubbleSettings.optional().meta({ description: 'Where the services start, in isolation' }),
    mustNotReach: z
      .array(z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'is not host:port'))
      .default([])
      .meta({
        description: 'Besides the stores and public addresses: what a drill may never speak to (mail, payments)',
      }),
    performance: z
      .strictObject({
        requests: z.int().min(1).max(100_000).default(200),
        concurrency: z.int().min(1).max(100).default(4),
        p95: duration.optional().meta({ description: '95 of 100 requests are answered within' }),
        slowerBy: z
          .number()
          .gt(1)
          .default(2)
          .meta({ description: 'Times the median of earlier drills that are too slow' }),
      })
      .prefault({})
      .meta({ description: 'What is asked of each endpoint, and how slow is too slow' }),
    targets: z.array(target).default([]).meta({ description: 'What the RTO validator may kill; nothing else ever is' }),
  })
  .meta({ description: 'The monthly rehearsal in isolation' });
