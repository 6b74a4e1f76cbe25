import type { FailOverResult } from '../../../core/role-change-runs';
import { STORES } from '../../../lab/sites/build';
import type { E2eLab } from '../e2e-lab';
import { boundOf } from './bound';
import type { Operation, RoleChangeFacts, Survivors } from './history';
import { ACCOUNTS } from './session';
import { asSuperuser } from './site-links';
import { isMutation } from './violation';

/** What the run itself and the stores say of a failover that has ended. */
export async function factsOf(
  e2e: E2eLab,
  result: FailOverResult,
  history: readonly Operation[],
  survivors: Readonly<Record<string, Survivors>>,
): Promise<RoleChangeFacts> {
  const promoted = result.outcome === 'completed';
  const fenced = promoted ? result.steps.find(({ id }) => id === 'evidence')?.finishedAt : null;
  const takenOverAtBytes = promoted ? await newTimelineBeginsAt(e2e) : null;
  const store = (name: string) => ({
    accounts: name === STORES.redis ? [] : ACCOUNTS,
    electsItself: name === STORES.mongodb,
    bound: boundOf(
      result.losses.find((each) => each.store === name),
      lastAcknowledgedMs(history, name, result.fromSite),
    ),
    takenOverAtBytes: name === STORES.postgresql ? takenOverAtBytes : null,
    survivors: survivors[name] as Survivors,
  });
  return {
    fromSite: result.fromSite,
    toSite: result.toSite,
    promoted,
    fencedAtMs: fenced ? Date.parse(fenced) : null,
    stores: Object.fromEntries(Object.values(STORES).map((name) => [name, store(name)])),
  };
}

function lastAcknowledgedMs(history: readonly Operation[], store: string, site: string): number {
  const acknowledged = history.filter(
    (each) => isMutation(each) && each.outcome === 'ok' && each.store === store && each.site === site,
  );
  return Math.max(...acknowledged.map(({ endedAtMs }) => endedAtMs));
}

/** From the promoted server's history file: a line for each timeline before its own, with the position where that one ended. */
function newTimelineBeginsAt(e2e: E2eLab): Promise<number> {
  return asSuperuser(e2e, 'dr', async (client) => {
    const { rows } = await client.query<{ at: string }>(
      `SELECT split_part(pg_read_file('pg_wal/00000002.history'), E'\\t', 2)::pg_lsn - '0/0' AS at`,
    );
    return Number(rows[0]?.at);
  });
}
