import { formatBytes } from '../../../core/clock';
import type { RedisInfo } from './info';

/** The settings that `archiverProblems` judges. */
export const ARCHIVER_SETTINGS = ['repl-backlog-size', 'repl-timeout', 'client-output-buffer-limit'] as const;

/** What the server keeps for an archiver that is away: at 1 MB/s of writes these are seconds, with Redis' own 1 MiB it is one. */
const LEAST_BACKLOG_BYTES = 16 * 1024 * 1024;
/** What an archiver may lag behind before the server cuts it off: it stores 16 MiB at once. */
const LEAST_BUFFER_BYTES = 64 * 1024 * 1024;
/** It acknowledges each second, and waits for the repository. */
const LEAST_TIMEOUT_SECONDS = 10;

/** A replica in `INFO replication`. */
interface ListedReplica {
  readonly port: number;
  readonly online: boolean;
  readonly lagSeconds: number;
}

/** Connections that were given the stream: real replicas say at which port they listen, an archiver listens nowhere. */
export function replicasIn(info: RedisInfo): {
  readonly replicas: ListedReplica[];
  readonly archivers: ListedReplica[];
} {
  const all = [...info].flatMap(([name, text]) => {
    if (!/^slave\d+$/.test(name)) return [];
    const fields = new Map(text.split(',').map((each) => each.split('=') as [string, string]));
    const online = fields.get('state') === 'online';
    return [{ port: Number(fields.get('port')), online, lagSeconds: Number(fields.get('lag')) }];
  });
  return { replicas: all.filter(({ port }) => port > 0), archivers: all.filter(({ port }) => port === 0) };
}

/** What an administrator should mend so that the stream can be archived, each with the command that does it. */
export function archiverProblems(info: RedisInfo, settings: ReadonlyMap<string, string>): string[] {
  if (info.get('role') !== 'master') return [];
  const problems: string[] = [];
  const backlogBytes = Number(settings.get('repl-backlog-size'));
  if (backlogBytes < LEAST_BACKLOG_BYTES) {
    problems.push(
      `its replication backlog of ${formatBytes(backlogBytes)} is soon too short for an archiver that is away: ` +
        `CONFIG SET repl-backlog-size ${4 * LEAST_BACKLOG_BYTES}`,
    );
  }
  const [, hard, soft] =
    /(?:replica|slave) (\d+) (\d+) \d+/.exec(settings.get('client-output-buffer-limit') ?? '') ?? [];
  if ([hard, soft].some((limit) => limit !== undefined && limit !== '0' && Number(limit) < LEAST_BUFFER_BYTES)) {
    problems.push(
      'it cuts off a replica or archiver that is a little behind: ' +
        `CONFIG SET client-output-buffer-limit "replica ${4 * LEAST_BUFFER_BYTES} ${LEAST_BUFFER_BYTES} 60"`,
    );
  }
  if (Number(settings.get('repl-timeout')) < LEAST_TIMEOUT_SECONDS) {
    problems.push('it gives up a replica or archiver that is silent for seconds: CONFIG SET repl-timeout 60');
  }
  return problems;
}

/**
 * An archiver acknowledges what is durable in the repository, so that the server counts it as a replica. Null where enough
 * real ones are there; a fence asks for more than there can be (fence-level.ts).
 */
export function countedArchiver(info: RedisInfo, wanted: number, maxLagSeconds: number): string | null {
  const { replicas, archivers } = replicasIn(info);
  const good = replicas.filter(({ online, lagSeconds }) => online && lagSeconds <= maxLagSeconds).length;
  if (info.get('role') !== 'master' || maxLagSeconds === 0 || archivers.length === 0) return null;
  if (wanted === 0 || good >= wanted || good + archivers.length < wanted) return null;
  return (
    `min-replicas-to-write ${wanted} is met only because drctl's archiver counts as a replica: ${good} of the replicas follow. ` +
    `CONFIG SET min-replicas-to-write ${wanted + archivers.length} asks for as many besides it`
  );
}
