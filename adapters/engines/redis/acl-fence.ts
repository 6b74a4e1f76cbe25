import type Redis from 'ioredis';
import { failure } from '../../../core/errors';
import { unlessRefused } from './connection';

/**
 * A fence by rights: every user, drctl's own as well, loses the write commands. It holds where `CONFIG SET` is not allowed
 * (managed servers) or would not outlive a restart, and nobody needs to be told apart for it, as drctl keeps `ACL` and can
 * give them back.
 *
 * What a user could do before is kept beside it as a second, disabled user: in the server itself, written to its ACL or config
 * file with the fence, so that it outlives a restart and needs no other place. Its name says which epoch set the fence, and
 * whether the user was on.
 */
const MARK = /^drctl-fence:(?<epoch>\d+):(?<state>on|off):(?<user>.+)$/s;
const markOf = (user: string, epoch: number, state: string) => `drctl-fence:${epoch}:${state}:${user}`;

/** Nothing that changes data, also inside scripts and functions; what modules add is in the category as well. */
const NO_WRITES = '-@write';

/** The tokens of a user as `ACL SETUSER` takes them; a selector is one token. */
type Rules = readonly string[];

/** The newest epoch that took rights away here; null where none did, or where we may not look (then we cannot have). */
export async function readAclFence(client: Redis): Promise<number | null> {
  const users = await unlessRefused(() => client.call('ACL', 'USERS') as Promise<string[]>);
  const epochs = (users ?? []).flatMap((name) => MARK.exec(name)?.groups?.['epoch'] ?? []).map(Number);
  return epochs.length === 0 ? null : Math.max(...epochs);
}

/**
 * Takes the write commands from every user and sees that it is so. Repeatable, also for a newer epoch. Answers how many users
 * there are; null where our account may not change users.
 */
export async function setAclFence(client: Redis, epoch: number): Promise<number | null> {
  const found = await unlessRefused(() => readUsers(client));
  if (!found) return null;
  const { users, kept } = found;
  // All copies first: should this end half-way, nothing is lost that has to be given back.
  for (const [name, rules] of users) {
    const before = kept.get(name) ?? { rules: withoutState(rules), state: rules.includes('on') ? 'on' : 'off' };
    kept.set(name, before);
    await setUser(client, markOf(name, epoch, before.state), [...before.rules, 'off']);
  }
  for (const name of users.keys()) {
    const before = kept.get(name);
    if (before) await setUser(client, name, [...before.rules.map(withoutWrites), NO_WRITES, before.state]);
  }
  await forget(client, (marked) => marked.epoch !== epoch || !users.has(marked.user));
  const able = [...(await readUsers(client)).users].filter(([, rules]) => mayWrite(rules)).map(([name]) => name);
  if (able.length === 0) return users.size;
  throw failure('FencingUnconfirmed', `these users of Redis may still write, by their rules: ${able.join(', ')}`);
}

/** Gives back what `setAclFence` took, of whatever epoch; false where there was nothing to give back. */
export async function liftAclFence(client: Redis): Promise<boolean> {
  if ((await readAclFence(client)) === null) return false;
  const { users, kept } = await readUsers(client);
  for (const [name, { rules, state }] of kept) {
    // A user whom somebody has deleted meanwhile stays deleted.
    if (users.has(name)) await setUser(client, name, [...rules, state]);
  }
  await forget(client, () => true);
  return true;
}

/** False where the server has no ACL file: its users are in its config file then. */
export async function saveUsers(client: Redis): Promise<boolean> {
  return (await unlessRefused(() => client.call('ACL', 'SAVE'))) !== null;
}

interface Kept {
  readonly rules: Rules;
  readonly state: string;
}

async function readUsers(client: Redis): Promise<{ users: Map<string, Rules>; kept: Map<string, Kept> }> {
  const users = new Map<string, Rules>();
  const kept = new Map<string, Kept & { epoch: number }>();
  for (const line of (await client.call('ACL', 'LIST')) as string[]) {
    const [, name = '', ...rules] = tokensOf(line);
    const mark = MARK.exec(name)?.groups as { epoch: string; state: string; user: string } | undefined;
    if (!mark) users.set(name, rules);
    // The oldest copy is of before any fence: a newer one is of a fence that had to be set a second time.
    else if (Number(mark.epoch) < (kept.get(mark.user)?.epoch ?? Infinity))
      kept.set(mark.user, { rules: withoutState(rules), state: mark.state, epoch: Number(mark.epoch) });
  }
  return { users, kept };
}

async function forget(client: Redis, wanted: (marked: { epoch: number; user: string }) => boolean): Promise<void> {
  for (const name of (await client.call('ACL', 'USERS')) as string[]) {
    const mark = MARK.exec(name)?.groups as { epoch: string; user: string } | undefined;
    if (mark && wanted({ epoch: Number(mark.epoch), user: mark.user })) await client.call('ACL', 'DELUSER', name);
  }
}

/** All of the user at once, in the server as well: there is no moment in which it has no password or no rights. */
const setUser = (client: Redis, name: string, rules: Rules) =>
  client.call('ACL', 'SETUSER', name, 'reset', ...rules) as Promise<string>;

/** Of a line of `ACL LIST`, or of what is inside a selector's parentheses. */
const tokensOf = (line: string): string[] => line.match(/\(.*?\)(?= |$)|\S+/gs) ?? [];

const withoutState = (rules: Rules) => rules.filter((rule) => rule !== 'on' && rule !== 'off');

const isSelector = (rule: string) => rule.startsWith('(');

/** Each selector grants on its own: what the user loses has to be taken from all of them. */
const withoutWrites = (rule: string) => (isSelector(rule) ? `${rule.slice(0, -1)} ${NO_WRITES})` : rule);

/** The last rule about commands decides, for the user and for each of its selectors. */
function mayWrite(rules: Rules): boolean {
  const last = rules.findLast((rule) => /^[+-]/.test(rule));
  return last !== NO_WRITES || rules.filter(isSelector).some((rule) => mayWrite(tokensOf(rule.slice(1, -1))));
}
