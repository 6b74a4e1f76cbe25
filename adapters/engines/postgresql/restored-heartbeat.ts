import type { StoreHeartbeat } from '../../../core/engine';
import { ArchivedLog } from './log-chain';
import { restoredMarker, withRestored } from './restored-server';
import { pathsOf } from './restore-place';
import { SCHEMA } from './schema';

/** See heartbeat.ts, which writes it. */
export const restoredHeartbeat: StoreHeartbeat = {
  async in({ directory }, { signal }) {
    const paths = pathsOf(directory);
    return withRestored(
      paths,
      await restoredMarker(paths),
      async (client) => {
        const { rows } = await client.query(`SELECT to_regclass('${SCHEMA}.heartbeat') IS NOT NULL AS there`);
        if (!(rows[0] as { there: boolean }).there) return null;
        const beats = await client.query(`SELECT at FROM ${SCHEMA}.heartbeat`);
        return (beats.rows[0] as { at: Date } | undefined)?.at.toISOString() ?? null;
      },
      { signal },
    );
  },

  async notedBefore(instant, { lineage }, { backups, log }) {
    const backup = backups.at(-1);
    if (!backup || !log || lineage === null) return null;
    const archived = await ArchivedLog.read(log);
    const chain = archived.chainFrom(backup, lineage);
    return chain && archived.notedBefore(chain, instant);
  },
};
