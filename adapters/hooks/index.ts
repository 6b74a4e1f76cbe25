import { failure } from '../../core/errors';
import type { HookCall, Hooks } from '../../core/hooks';
import { CommandProblem, findProgram, runForWords } from '../fence/json-command';
import { NoAnswer, requestJson } from '../http/json-request';
import { webhookHeaders } from '../notify/webhook';
import type { HookAction, HookActions } from './settings';

/** Programs and webhooks of the user that a role change calls on its way (docs/hooks.md). */
export function createHooks(actions: HookActions): Hooks {
  const actionOf = ({ hook, action }: Pick<HookCall, 'hook' | 'action'>): HookAction => {
    const found = actions[hook]?.[action];
    if (found) return found;
    throw failure('NotFound', `the config of this worker has no ${action} of a hook "${hook}"`);
  };
  return {
    async call(call, withinSeconds, { signal }) {
      const action = actionOf(call);
      const what = `${call.action === 'undo' ? 'undo of hook' : 'hook'} ${call.hook}`;
      return 'argv' in action
        ? byCommand(action, { call, what, withinSeconds, signal })
        : byRequest(action, { call, what, withinSeconds, signal });
    },

    async check(hook) {
      for (const action of [actions[hook]?.run, actions[hook]?.undo]) {
        if (!action || !('argv' in action)) continue;
        const [program = ''] = action.argv;
        if ((await findProgram(program)) === null)
          throw failure('ToolMissing', `${program} of hook ${hook} is not there, or may not be run`);
      }
    },
  };
}

interface Calling {
  readonly call: HookCall;
  readonly what: string;
  readonly withinSeconds: number;
  readonly signal: AbortSignal;
}

async function byCommand(
  { argv, environment }: Extract<HookAction, { argv: unknown }>,
  { call, what, withinSeconds: timeoutSeconds, signal }: Calling,
): Promise<string> {
  try {
    return await runForWords({ argv, environment, timeoutSeconds, input: call, signal });
  } catch (error) {
    if (!(error instanceof CommandProblem)) throw error;
    throw failure(error.problem === 'missing' ? 'ToolMissing' : 'HookFailed', `${what}: ${error.message}`);
  }
}

async function byRequest(
  { url, token, signingKey }: Extract<HookAction, { url: unknown }>,
  { call, what, withinSeconds: timeoutSeconds, signal }: Calling,
): Promise<string> {
  const body = JSON.stringify(call);
  // A receiver that has seen this id has done it already.
  const id = `${call.runId}:${call.hook}:${call.action}`;
  const headers = webhookHeaders(id, Math.floor(Date.now() / 1_000), body, signingKey);
  const request = { method: 'POST', url, headers, token, body, timeoutSeconds, signal } as const;
  const answer = await requestJson(request).catch((error: unknown) => {
    if (error instanceof NoAnswer) throw failure('HookFailed', `${what}: ${error.message}`, { cause: error });
    throw error;
  });
  // A word that was cut may be the beginning of what was sent.
  const whole = answer.excerpt.replace(/\S*…$/, '…');
  const sent = [token, signingKey].flatMap((secret) => (secret ? [secret.reveal()] : []));
  const said = sent.reduce((shown, secret) => shown.replaceAll(secret, '***'), whole);
  const words = `HTTP ${answer.status}${said === '' ? '' : `: ${said}`}`;
  if (answer.status < 200 || answer.status > 299) throw failure('HookFailed', `${what}: ${words}`);
  return words;
}
