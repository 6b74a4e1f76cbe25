import { z } from 'zod';
import { failure } from '../../core/errors';
import type { SiteFence } from '../../core/fencing';
import { CommandProblem, findProgram, runJsonCommand } from './json-command';
import type { CommandFenceSettings } from './settings';

/** sysexits.h EX_TEMPFAIL: "it may work later". */
const EXIT_TRY_AGAIN = 75;
/** The command's own word for "a newer epoch holds the fence"; the first number that neither shells nor sysexits.h use. */
const EXIT_STALE_EPOCH = 79;

const fenceAnswer = z.object({
  /** True only when the command saw the site unable to write, not when it has merely asked for it. */
  proven: z.boolean(),
  how: z.string().min(1).max(500),
  /** The stores that it covers; all of the application when absent. */
  stores: z.array(z.string()).optional(),
  /** Where those ended that it shut down cleanly. */
  ended: z.array(z.object({ store: z.string(), lineage: z.string(), value: z.string() })).optional(),
});
const unfenceAnswer = z.object({
  fenced: z.literal(false),
  /** What it started again; absent: it does not say. */
  started: z.array(z.string()).optional(),
  /** What somebody else has to start, a line each. */
  notes: z.array(z.string().max(500)).optional(),
});

type Action = 'fence' | 'unfence';

/**
 * A fence that a program of the user carries out: a cloud's CLI, a power switch, a storage array. It is given
 * `{"action", "site", "epoch", "stores"}` on standard input and answers JSON on standard output (docs/fencing.md).
 */
export function createCommandFence(settings: CommandFenceSettings, stores: readonly string[]): SiteFence {
  const [program = ''] = settings.argv;

  async function run<T>(
    action: Action,
    place: { site: string; epoch: number; stores: readonly string[]; endWithinSeconds?: number },
    schema: z.ZodType<T>,
    signal: AbortSignal,
  ) {
    const what = `${action} of site ${place.site} for epoch ${place.epoch} by ${program}`;
    try {
      const answer = await runJsonCommand({ ...settings, input: { action, ...place }, signal });
      const parsed = schema.safeParse(answer);
      if (parsed.success) return parsed.data;
      const issue = parsed.error.issues[0];
      throw failure(
        'FencingUnconfirmed',
        `${what}: its answer is not as expected (${issue?.path.join('.')}: ${issue?.message})`,
      );
    } catch (error) {
      if (error instanceof CommandProblem) throw translate(error, what);
      throw error;
    }
  }

  return {
    kind: 'command',

    // Never run for it: a program that does not know this question might fence the site.
    async check() {
      if ((await findProgram(program)) !== null) return { fencedByEpoch: null };
      throw failure('ToolMissing', `the fence ${program} is not there, or may not be run`);
    },

    async fence(site, epoch, ctx, scope) {
      const asked = scope ?? { stores };
      const answer = await run('fence', { site, epoch, ...asked }, fenceAnswer, ctx.signal);
      if (!answer.proven) {
        throw failure('FencingUnconfirmed', `fence of site ${site} for epoch ${epoch} by ${program}: ${answer.how}`);
      }
      const covered = (answer.stores ?? asked.stores).filter((store) => stores.includes(store));
      const at = new Date().toISOString();
      const ended = answer.ended ? { ended: answer.ended } : {};
      return { strength: 'proven', site, stores: covered, epoch, at, how: answer.how, by: program, ...ended };
    },

    async unfence(site, epoch, ctx) {
      const { started, notes } = await run('unfence', { site, epoch, stores }, unfenceAnswer, ctx.signal);
      const silent = started === undefined && notes === undefined;
      const untold = `${program} lifted the fence of ${site} and does not say what it started: see that all of it runs`;
      return { started: started ?? [], notes: silent ? [untold] : (notes ?? []) };
    },
  };
}

function translate({ problem, message, exitCode }: CommandProblem, what: string): Error {
  const why = `${what}: ${message}`;
  if (problem === 'missing') return failure('ToolMissing', why);
  const data = 'Whether the site is fenced is not known; nothing was promoted.';
  if (problem === 'late' || exitCode === EXIT_TRY_AGAIN) return failure('TargetUnreachable', why, { data });
  return failure(exitCode === EXIT_STALE_EPOCH ? 'StaleEpoch' : 'FencingUnconfirmed', why, { data });
}
