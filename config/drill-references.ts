import type { z } from 'zod';

/** Of a bubble, by its kind, what it names. */
interface BubblePlace {
  readonly site?: string;
  readonly cluster?: { readonly namespace: string };
  readonly env?: Readonly<Record<string, string>>;
}

/** What of a config a drill refers to. */
interface Referring {
  readonly sites: Readonly<Record<string, unknown>>;
  readonly stores: Readonly<Record<string, unknown>>;
  readonly dns?: { readonly records: readonly { readonly name: string }[] } | undefined;
  readonly services?:
    | {
        readonly controller: {
          readonly kind: string;
          readonly sites?: Readonly<Record<string, { readonly namespace: string }>>;
        };
        readonly groups: readonly { readonly services: readonly { readonly name: string }[] }[];
      }
    | undefined;
  readonly drill?:
    | {
        readonly name?: { readonly name: string } | undefined;
        readonly bubble?: BubblePlace | undefined;
        readonly targets: readonly {
          readonly name: string;
          readonly store?: string | undefined;
          readonly service?: string | undefined;
          readonly site?: string | undefined;
          readonly pods?: string | undefined;
        }[];
      }
    | undefined;
}

/** A drill may use nothing of production's: neither its names nor its sites, and it kills only what there is. */
export function drillReferences({ sites, stores, dns, services, drill }: Referring, context: z.RefinementCtx): void {
  if (!drill) return;
  const issue = (path: PropertyKey[], message: string) =>
    context.addIssue({ code: 'custom', path: ['drill', ...path], message });
  const { name, bubble, targets } = drill;

  if (name && !dns) issue(['name'], 'needs `dns`: the zone that the name is put into');
  if (name && dns?.records.some((record) => bare(record.name) === bare(name.name)))
    issue(['name', 'name'], `is a public name of the application: a drill needs one that nobody uses`);
  if (bubble && !services) issue(['bubble'], 'needs `services`: what is started in it');
  if (bubble?.site !== undefined && bubble.site in sites)
    issue(['bubble', 'site'], `is a site of the application: a drill needs a place of its own`);

  const used = Object.values(services?.controller.sites ?? {}).map(({ namespace }) => namespace);
  if (bubble?.cluster && used.includes(bubble.cluster.namespace))
    issue(['bubble', 'cluster', 'namespace'], `is a site's: a drill needs one of its own`);

  for (const [variable, value] of Object.entries(bubble?.env ?? {}))
    for (const [, store = ''] of value.matchAll(COPY_IN_ENV))
      if (!(store in stores)) issue(['bubble', 'env', variable], `no store is called "${store}"`);

  const known = (services?.groups ?? []).flatMap((group) => group.services.map((each) => each.name));
  targets.forEach(({ name: called, store, service, site, pods }, index) => {
    const wants = (what: string, value: string | undefined, there: readonly string[]) => {
      if (value === undefined || there.includes(value)) return;
      issue(['targets', index, what], `no ${what} is called "${value}"; declared: ${there.join(', ') || 'none'}`);
    };
    wants('store', store, Object.keys(stores));
    wants('service', service, known);
    wants('site', site, Object.keys(sites));
    if (service !== undefined && site === undefined && !bubble)
      issue(
        ['targets', index, 'service'],
        'needs `drill.bubble`, where the drill starts it; or name the site it runs at',
      );
    const kind = services?.controller.kind;
    if (site !== undefined && kind === undefined)
      issue(['targets', index, 'site'], 'needs `services.controller`: it says who runs what is there');
    if (site !== undefined && kind === 'kubernetes' && store !== undefined && pods === undefined)
      issue(['targets', index], 'needs `pods`: the label selector of the pods of this store');
    if (pods !== undefined && kind !== 'kubernetes')
      issue(['targets', index, 'pods'], 'is for `services.controller` of kind kubernetes');
    if (targets.findIndex((each) => each.name === called) < index)
      issue(['targets', index, 'name'], `"${called}" is there twice`);
  });
}

/** As adapters/bubble/kubernetes-copy.ts fills it. */
const COPY_IN_ENV = /\{(?:copy|host|port):([a-z0-9-]+)\}/g;

const bare = (host: string) => host.toLowerCase().replace(/\.$/, '');
