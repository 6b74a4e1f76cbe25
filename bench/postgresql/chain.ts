import type { Cluster } from './cluster';
import type { PgBackRest } from './peers/pgbackrest';
import type { Side } from './product';

/** The share of all rows that changes between two members of a chain. */
export const CHANGED_SHARE = 0.001;

/** A full backup with incrementals on it, on one side. */
export interface Chain {
  /** The newest member's name, how many incrementals there are, and what a restore of it must hold. */
  readonly newest: () => { readonly id: string; readonly incrementals: number; readonly digest: string };
  /** Changes rows and takes an incremental of them. */
  take(): Promise<Member>;
}

export interface Member {
  readonly id: string;
  readonly seconds: number;
  readonly storedBytes: number;
}

/** The worker works while a member is taken, and rests after it. */
export function ourChain({ cluster, product }: Side): Promise<Chain> {
  return chain(cluster, async (type) => {
    await product.work(); // the archived log has caught up with what changed, as it always has
    const backup = await product.backUp(type);
    await product.rest();
    return { ...backup, id: backup.backupId };
  });
}

export function pgBackRestChain({ cluster }: Side, pgBackRest: PgBackRest): Promise<Chain> {
  return chain(cluster, async (type) => {
    const backup = await pgBackRest.backUp(type);
    return { ...backup, id: backup.label };
  });
}

async function chain(cluster: Cluster, backUp: (type: 'full' | 'incr') => Promise<Member>): Promise<Chain> {
  let newest = { id: (await backUp('full')).id, incrementals: 0, digest: '' };
  return {
    newest: () => newest,
    async take() {
      await cluster.changeRows(CHANGED_SHARE);
      const digest = await cluster.digest();
      const member = await backUp('incr');
      newest = { id: member.id, incrementals: newest.incrementals + 1, digest };
      return member;
    },
  };
}
