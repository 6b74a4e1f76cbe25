import type { CallContext } from '../core/call';
import type { ReadinessCheck } from '../core/readiness';
import type { OpenApplication } from './deps';
import { look } from './readiness-looks';

/** Programs of hooks that this site's worker would run. A webhook is called on the day only. */
export async function checkHooks({ application, hooks }: OpenApplication, ctx: CallContext): Promise<ReadinessCheck[]> {
  const own = application.hooks.filter(({ at, does }) => at === 'new' && does === 'command');
  return Promise.all(
    own.map(({ name, onFailure }) =>
      look(
        { id: `hook:${name}`, title: `Hook ${name}` },
        onFailure === 'stop' ? 'people would be asked to retry or to skip it' : 'it would be left out, and told of',
        async () => {
          await hooks.check(name);
          return ['ok', 'its programs are here', null];
        },
        ctx,
        onFailure === 'stop' ? 'failing' : 'warning',
      ),
    ),
  );
}
