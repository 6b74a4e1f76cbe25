import type { Manifest } from '../../core/catalog';
import type { LogArchive, LogNaming } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import type { LogReach } from '../../core/retention/log-reach';
import type { StoreVerifier } from '../../core/verification';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { createLogArchive } from '../repository/log-archive';
import { COMMIT_MILLISECONDS, lookAtBackups } from './look-at-backups';
import { lookAtHistory, lookAtLog } from './look-at-log';
import { StoredReader } from './read-stored';

export interface VerifierOptions {
  readonly repository: Repository;
  readonly store: string;
  /** Null for a store without one. `keptSeconds`: how long retention keeps it for its own sake; null: for ever. */
  readonly log: { readonly naming: LogNaming; readonly reach: LogReach; readonly keptSeconds: number | null } | null;
  /** Null where nothing is encrypted. */
  readonly cipher?: ObjectCipher | null;
  /** How long a commit may be between its decision and its manifest. */
  readonly commitMilliseconds?: number;
}

/** Catalogue and log are opened anew for each look: bits that rot on a disk change nothing that a cache would notice. */
export function createStoreVerifier(options: VerifierOptions): StoreVerifier {
  const { repository, store, cipher = null, commitMilliseconds = COMMIT_MILLISECONDS } = options;
  const { log: kept } = options;
  const log = kept && {
    naming: kept.naming,
    open: () => createLogArchive(repository, store, kept.naming, cipher),
    expected: () => ({
      needs: (manifest: Manifest) => kept.reach.needs(manifest),
      keptSince: kept.keptSeconds === null ? -Infinity : Date.now() - kept.keptSeconds * 1_000,
    }),
  };
  return {
    async look(before, ctx) {
      const backups = await lookAtBackups(repository, store, commitMilliseconds, ctx);
      const { manifests } = backups;
      const archive = log?.open() ?? null;
      const seen =
        archive && log
          ? await lookAtLog(archive, { store, naming: log.naming, manifests, before, ...log.expected() }, ctx)
          : null;
      const history = archive ? await lookAtHistory(repository, archive, store) : [];
      return {
        count: {
          backups: manifests.length,
          objects: backups.objects,
          logPieces: seen?.pieces ?? 0,
          readBytes: 0,
        },
        findings: [...backups.findings, ...(seen?.findings ?? []), ...history],
        log: seen?.ranges ?? [],
        manifests,
        recovered: backups.recovered,
      };
    },

    read: (request, resume, onProgress, ctx) =>
      new StoredReader({ repository, store, log, cipher }, resume, onProgress, ctx).read(request),

    readAgain: (keys, backups, ctx) =>
      new StoredReader({ repository, store, log, cipher }, null, () => {}, ctx).sound(keys, backups),

    logWithout: (keys) => (log ? without(log.open(), keys) : null),
  };
}

function without(log: LogArchive, keys: ReadonlySet<string>): LogArchive {
  return {
    ...log,
    entries: async (lineage) => (await log.entries(lineage)).filter(({ key }) => !keys.has(key)),
    // A damaged history is one that is not there: what can be done without it is the question.
    history: async () => new Map([...(await log.history())].filter(([, bytes]) => !(bytes instanceof Error))),
  };
}
