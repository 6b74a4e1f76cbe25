import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { CallContext } from '../../../core/call';
import type { DumpResult } from '../../../core/catalog';
import type { DumpPlan } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';
import { copyAppendOnly } from './append-only-copy';
import { addressOf, type RedisEndpoint, withRedis } from './connection';
import { withFullSync } from './full-sync';
import { infoVersion, readInfo } from './info';
import { readServerState } from './server-state';

export const RDB_VOLUME = 'dump.rdb';
export const ACL_VOLUME = 'users.acl';
const APPEND_ONLY_VOLUME = 'appendonlydir.tar';
export const STATE_FILE = 'server-state.json';

/**
 * Copies one server: users, RDB and (where the worker can read it) the append-only directory. The RDB alone is what a
 * restore uses; the append-only copy is a second witness in the server's other format.
 */
export async function dumpRedis(
  plan: DumpPlan,
  member: RedisEndpoint,
  appendOnlyDirectory: string | undefined,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<DumpResult> {
  const { state, info, startedAt, clockAhead } = await withRedis(member, ctx, async (client) => ({
    state: await readServerState(client),
    info: await readInfo(client, 'server', 'replication', 'memory', 'persistence'),
    ...(await readClock(async () => (await client.time()) as unknown as [string, string])),
  }));
  await sink.early(STATE_FILE, Buffer.from(`${JSON.stringify(state.description, null, 2)}\n`));
  if (state.aclFile !== null) {
    await pipeline(Readable.from([Buffer.from(state.aclFile)]), sink.volume(ACL_VOLUME), { signal: ctx.signal });
  }
  const estimatedBytes = plan.estimatedBytes ?? undefined;
  const { position, announcedAt, contentBytes } = await withFullSync(member, ctx, async (sync) => {
    // The fork lies before the announcement, so every change in the RDB is older than this instant.
    const received = { position: sync.position, announcedAt: Date.now() + clockAhead, contentBytes: 0 };
    const counted = async function* () {
      for await (const part of sync.rdb) {
        received.contentBytes += part.length;
        ctx.progress({ phase: 'copying RDB', doneBytes: received.contentBytes, totalBytes: estimatedBytes });
        yield part;
      }
    };
    await pipeline(counted(), sink.volume(RDB_VOLUME), { signal: ctx.signal });
    return received;
  });
  const appendOnly =
    appendOnlyDirectory === undefined || info.get('aof_enabled') !== '1'
      ? null
      : await copyAppendOnly(appendOnlyDirectory, APPEND_ONLY_VOLUME, sink, ctx);
  const serverVersion = infoVersion(info);
  if (serverVersion === null) throw failure('TargetUnreachable', `${addressOf(member)} does not say its version`);
  return {
    start: position,
    stop: position,
    startedAt,
    consistentAt: new Date(announcedAt).toISOString(),
    identity: position.lineage,
    lineage: position.lineage,
    serverVersion,
    toolVersions: { rdb: 'replication protocol, rdb-only' },
    source: plan.source,
    warnings: [...state.warnings, ...appendOnlyWarning(appendOnlyDirectory, info.get('aof_enabled'))],
    detail: { rdbBytes: contentBytes, appendOnly, usersCaptured: state.aclFile !== null },
  };
}

function appendOnlyWarning(directory: string | undefined, enabled: string | undefined): string[] {
  return directory !== undefined && enabled === '0'
    ? [`${directory} was not copied: the server has appendonly off`]
    : [];
}

/** The server's time, and how far its clock is ahead of ours; half the round trip is the usual estimate. */
async function readClock(time: () => Promise<[string, string]>): Promise<{ startedAt: string; clockAhead: number }> {
  const before = Date.now();
  const [seconds, microseconds] = await time();
  const serverMilliseconds = Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
  const clockAhead = serverMilliseconds - (before + Date.now()) / 2;
  return { startedAt: new Date(serverMilliseconds).toISOString(), clockAhead: Math.ceil(clockAhead) };
}
