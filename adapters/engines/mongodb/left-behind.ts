import type { Document } from 'mongodb';
import type { ForcedPromotion } from '../../../core/roles';
import type { Members } from './members';
import { compareConfigs, hostsOf } from './votes';

/** How long one that is left behind may not stand for election; whoever holds it off asks again before. */
const HOLD_SECONDS = 600;
/** A leader that is told to go at once may still have to end what runs. */
const STEP_DOWN_MILLISECONDS = 13_000;

/**
 * What a forced reconfiguration left behind. It is kept as a tag in the set's own configuration, so that it is durable in
 * the same moment as the reconfiguration itself, and goes with the set wherever that goes.
 */
export interface LeftBehind {
  readonly epoch: number;
  /** All votes of the configuration that was replaced. */
  readonly votes: number;
  /** Host → its votes there. */
  readonly removed: Readonly<Record<string, number>>;
}

const TAG = 'drctlForced';

/** The tag that says all this; values of tags are text. */
export const leftBehindTag = (records: readonly LeftBehind[]) => ({ [TAG]: JSON.stringify(records) });

/** Newest last, without those that belong to the set again; empty for a set that was never forced. */
export function leftBehindBy(config: Document): LeftBehind[] {
  const hosts = hostsOf(config);
  const all = config['members'] as { readonly tags?: Readonly<Record<string, string>> }[];
  const text = all.map(({ tags }) => tags?.[TAG]).find((each) => each !== undefined);
  const records = text === undefined ? [] : (JSON.parse(text) as LeftBehind[]);
  return records
    .map((each) => ({
      ...each,
      removed: Object.fromEntries(Object.entries(each.removed).filter(([host]) => !hosts.includes(host))),
    }))
    .filter(({ removed }) => Object.keys(removed).length > 0);
}

/** What the role change of this epoch did by force; null where it did nothing of the kind. */
export function forcedBy(config: Document, epoch: number): ForcedPromotion | null {
  const record = leftBehindBy(config).find((each) => each.epoch === epoch);
  return record ? { kept: hostsOf(config), removed: Object.keys(record.removed) } : null;
}

/** In words for an administrator; null where nothing is left behind. */
export function leftBehindProblem(config: Document): string | null {
  const records = leftBehindBy(config);
  const hosts = records.flatMap(({ removed }) => Object.keys(removed));
  if (hosts.length === 0) return null;
  const epochs = records.map(({ epoch }) => epoch).join(', ');
  return (
    `${hosts.join(', ')} were removed by force in epoch ${epochs}: keep them down until each is empty or seen REMOVED, ` +
    'then add them to the set again'
  );
}

type Standing = 'knows' | 'leads' | 'follows' | 'silent';

/**
 * Asks every member that was left behind. One that knows the newer configuration knows that it belongs to no set, for good.
 * The others are kept from electing a primary of the old one as far as they answer: that lasts minutes, and ends with
 * their process. `mayElect` while those that do not know are a majority of the old votes.
 */
export async function holdOffLeftBehind(
  members: Members,
  config: Document,
): Promise<{ readonly mayElect: boolean; readonly how: string }> {
  const records = leftBehindBy(config);
  const hosts = [...new Set(records.flatMap(({ removed }) => Object.keys(removed)))];
  const standings = new Map(
    await Promise.all(hosts.map(async (host) => [host, await standingOf(members, host, config)] as const)),
  );
  const those = (standing: Standing) => hosts.filter((host) => standings.get(host) === standing);
  // None of the others may take over from one that is told to go.
  await Promise.all(those('follows').map((host) => tell(members, host, { replSetFreeze: HOLD_SECONDS })));
  const goNow = { replSetStepDown: HOLD_SECONDS, secondaryCatchUpPeriodSecs: 1, force: true };
  await Promise.all(those('leads').map((host) => tell(members, host, goNow)));
  const mayElect = records.some(({ votes, removed }) => {
    const unaware = Object.entries(removed).filter(([host]) => standings.get(host) !== 'knows');
    return 2 * unaware.reduce((sum, [, each]) => sum + each, 0) > votes;
  });
  const words = hosts.map((host) => `${host} ${WORDS[standings.get(host) ?? 'silent']}`).join(', ');
  return { mayElect, how: hosts.length === 0 ? '' : `left behind by force: ${words}` };
}

const WORDS: Readonly<Record<Standing, string>> = {
  knows: 'knows that it is removed',
  leads: 'led the old set and was told to step down',
  follows: 'is of the old set and was told not to stand for election',
  silent: 'does not answer',
};

async function standingOf(members: Members, host: string, config: Document): Promise<Standing> {
  try {
    return await members.ask(host, async (client) => {
      const admin = client.db('admin');
      const reply = await admin.command({ replSetGetConfig: 1 });
      if (compareConfigs(reply['config'] as Document, config) >= 0) return 'knows';
      const hello = await admin.command({ hello: 1 });
      return hello['isWritablePrimary'] === true ? 'leads' : 'follows';
    });
  } catch {
    return 'silent'; // no answer is an answer here: it may be of the old set
  }
}

/** One that cannot be told is asked again by whoever holds it off, and counts as one that may elect meanwhile. */
async function tell(members: Members, host: string, command: Document): Promise<void> {
  await members
    .ask(host, (client) => client.db('admin').command(command), STEP_DOWN_MILLISECONDS)
    .catch(() => undefined);
}
