import { hasCode, reasonOf } from '../core/errors';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export interface SiteFiles {
  readonly store: string;
  readonly site: string;
  /** What is missing or cannot be read, a line each; empty where every directory of the store is there. */
  readonly problems: readonly string[];
}

/** Files that services need where they are started. */
export function createSiteFilesActivities(deps: ActivityDeps) {
  return {
    /** Whether the directories of a store of files can be read by the worker at the site. Changes nothing. */
    async lookAtFiles(input: { application: string; store: string; site: string }): Promise<SiteFiles> {
      return withCallContext(async (ctx) => {
        const { store, site } = input;
        try {
          const { reachable, problems } = await deps.open(input.application).engine(store).probe(site, ctx);
          const found = reachable || problems.length > 0 ? problems : ['none of its directories can be read'];
          return { store, site, problems: found };
        } catch (error) {
          if (!hasCode(error, 'NotFound')) throw error;
          return { store, site, problems: [reasonOf(error)] };
        }
      });
    },
  };
}
