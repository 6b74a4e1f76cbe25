import type { CallContext } from '../core/call';
import type { Hook } from '../core/hooks';
import type { ReadinessCheck, ReadinessState } from '../core/readiness';
import type { OpenApplication } from './deps';
import { look } from './readiness-looks';

/**
 * Programs of hooks that this site's worker would run: as the new site, or as the old one, which may be gone on the day unless
 * the move is planned. A webhook is called on the day only.
 */
export async function checkHooks(
  { application, hooks }: OpenApplication,
  { at, planned = false }: { readonly at: Hook['at']; readonly planned?: boolean },
  ctx: CallContext,
): Promise<ReadinessCheck[]> {
  const own = application.hooks.filter((hook) => hook.at === at && hook.does === 'command');
  const missing = ({ onFailure }: Hook): ReadinessState =>
    onFailure === 'stop' && (at === 'new' || planned) ? 'failing' : 'warning';
  return Promise.all(
    own.map((hook) =>
      look(
        { id: `hook:${hook.name}`, title: `Hook ${hook.name}` },
        hook.onFailure === 'stop'
          ? 'people would be asked to retry or to skip it'
          : 'it would be left out, and told of',
        async () => {
          await hooks.check(hook.name);
          return ['ok', 'its programs are here', null];
        },
        ctx,
        missing(hook),
      ),
    ),
  );
}
