import type { z } from 'zod';
import { copiesOf } from './copies';
import type { StoreConfig } from './stores';
import type { Duration } from './values';

/** The names in a config that must be declared elsewhere in it. */
interface Referring {
  readonly sites: Readonly<Record<string, unknown>>;
  readonly initialSite: string;
  readonly repositories: Readonly<Record<string, unknown>>;
  readonly repository: string;
  readonly controlRepository?: string | undefined;
  readonly copies: Readonly<
    Record<string, { readonly stores?: readonly string[] | undefined; readonly maxLag: Duration }>
  >;
  readonly stores: Readonly<Record<string, StoreConfig>>;
  readonly dns?: { readonly records: readonly { readonly values: Readonly<Record<string, unknown>> }[] } | undefined;
  readonly metrics: {
    readonly prometheus?: { readonly listen: string | Readonly<Record<string, string>> } | undefined;
  };
  readonly monitoring: { readonly stores: Readonly<Record<string, unknown>> };
  readonly schedules: {
    readonly runs: Readonly<Record<string, { readonly run: string; readonly stores?: readonly string[] | undefined }>>;
  };
  readonly fence?:
    | {
        readonly kind: string;
        readonly sites?: Readonly<Record<string, { readonly stores: Readonly<Record<string, unknown>> }>>;
      }
    | undefined;
  readonly costs?: { readonly storagePerGibMonth: Readonly<Record<string, unknown>> } | undefined;
  readonly services?:
    { readonly groups: readonly { readonly services: readonly { readonly name: string }[] }[] } | undefined;
}

/** Finds names that nothing declares, and says what is declared. */
export function crossReferences(config: Referring, context: z.RefinementCtx): void {
  const declared = {
    site: Object.keys(config.sites),
    store: Object.keys(config.stores),
    repository: Object.keys(config.repositories),
  };
  const wants = (kind: keyof typeof declared, value: string, path: PropertyKey[]) => {
    if (declared[kind].includes(value)) return;
    const known = declared[kind].join(', ') || 'none';
    context.addIssue({
      code: 'custom',
      path,
      message: `no ${kind} is called "${value}"; declared: ${known}`,
      params: { known: declared[kind], value },
    });
  };

  wants('site', config.initialSite, ['initialSite']);
  wants('repository', config.repository, ['repository']);
  if (config.controlRepository !== undefined) wants('repository', config.controlRepository, ['controlRepository']);
  for (const [copy, { stores }] of Object.entries(config.copies)) {
    wants('repository', copy, ['copies', copy]);
    for (const [index, store] of (stores ?? []).entries()) {
      wants('store', store, ['copies', copy, 'stores', index]);
      if ((config.stores[store]?.repository ?? config.repository) !== copy) continue;
      const message = `${store} lives in "${copy}": a copy needs another repository`;
      context.addIssue({ code: 'custom', path: ['copies', copy, 'stores', index], message });
    }
    if (Object.keys(config.stores).some((store) => copiesOf(config, store).some(({ name }) => name === copy))) continue;
    const message = `every store lives in "${copy}" already: nothing would be copied`;
    context.addIssue({ code: 'custom', path: ['copies', copy], message });
  }
  for (const [store, { repository, sites, mirrors }] of Object.entries(config.stores)) {
    if (repository !== undefined) wants('repository', repository, ['stores', store, 'repository']);
    mirrors.forEach(({ to }, index) =>
      wants('repository', to.repository, ['stores', store, 'mirrors', index, 'to', 'repository']),
    );
    for (const site of sites) wants('site', site, ['stores', store, 'sites', site]);
  }
  config.dns?.records.forEach(({ values }, index) => {
    for (const site of Object.keys(values)) wants('site', site, ['dns', 'records', index, 'values', site]);
    for (const site of declared.site) {
      if (site in values) continue;
      context.addIssue({
        code: 'custom',
        path: ['dns', 'records', index, 'values'],
        message: `has no value for the site "${site}"`,
      });
    }
  });
  for (const [site, { stores }] of Object.entries(config.fence?.sites ?? {})) {
    wants('site', site, ['fence', 'sites', site]);
    for (const store of Object.keys(stores)) wants('store', store, ['fence', 'sites', site, 'stores', store]);
  }
  for (const [run, { stores = [] }] of Object.entries(config.schedules.runs)) {
    stores.forEach((store, index) => wants('store', store, ['schedules', 'runs', run, 'stores', index]));
  }
  for (const [run, { run: purpose }] of Object.entries(config.schedules.runs)) {
    if (purpose !== 'copy' || Object.keys(config.copies).length > 0) continue;
    const message = 'copies nothing: no repository is named under `copies`';
    context.addIssue({ code: 'custom', path: ['schedules', 'runs', run, 'run'], message });
  }
  const listen = config.metrics.prometheus?.listen ?? '';
  for (const site of typeof listen === 'string' ? [] : Object.keys(listen))
    wants('site', site, ['metrics', 'prometheus', 'listen', site]);
  for (const store of Object.keys(config.monitoring.stores)) wants('store', store, ['monitoring', 'stores', store]);
  for (const repository of Object.keys(config.costs?.storagePerGibMonth ?? {}))
    wants('repository', repository, ['costs', 'storagePerGibMonth', repository]);
  const seen = new Set<string>();
  config.services?.groups.forEach((group, groupIndex) =>
    group.services.forEach(({ name }, index) => {
      if (seen.has(name)) {
        context.addIssue({
          code: 'custom',
          path: ['services', 'groups', groupIndex, 'services', index, 'name'],
          message: `the service "${name}" is in two groups`,
        });
      }
      seen.add(name);
    }),
  );
}
