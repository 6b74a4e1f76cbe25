import * as fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import { LEAVES, type RestoredStore, type RestorePlace } from '../../../core/recovery';
import { absent } from '../../filesystem/absent';
import { advance, mayRemove, newTry, writeMarker } from '../restore-marker';
import type { BackupDetail } from './dump';
import { sqlState } from './connection';
import { rebuild } from './rebuild';
import { ownMarker, replay } from './replay';
import { restored } from './restored-state';
import { openWhenStarted, writeServerConfig } from './restore-config';
import { serverOf, withRestored } from './restored-server';
import { clearRestore, ownerOf, pathsOf } from './restore-place';
import { findTool } from './tools';

const PROMOTE_SECONDS = 60;
/** Recovery has ended, or somebody promotes the server at this moment: by an earlier try or by hand. */
const NOT_RECOVERING = '55000';
/** It takes a tenth of a second; people wait for the copy. */
const OPEN_LOOK_MILLISECONDS = 25;

export function createRestore(toolsDirectory: string | undefined): Restore {
  return {
    rebuild: (request, source, _log, ctx) => rebuild(request, source, toolsDirectory, ctx),
    replay: (request, log, ctx) => replay(request, log, toolsDirectory, ctx),
    leaves: LEAVES,
    open: (request, ctx) => open(request, toolsDirectory, ctx),
    shutDown: (request, ctx) => shutDown(request, toolsDirectory, ctx),
    crash: async ({ directory }) => ((await mayRemove(directory)) ? serverOf(pathsOf(directory)).crash() : null),
    discard,
  };
}

/** Ends recovery on a new timeline; see core/engine.ts `Restore.open`. */
async function open(
  request: RestoreRequest,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<RestoredStore> {
  const paths = pathsOf(request.place.directory);
  const before = await ownMarker(paths, request);
  if (before.phase !== 'replayed' && before.phase !== 'open') {
    throw failure('TargetNotEmpty', `the restore in ${paths.root} has not been replayed to its target yet`, {
      next: 'Run the replay step first.',
    });
  }
  if ((await serverOf(paths).pid()) === null) {
    if (before.phase !== 'open') {
      throw failure('TargetUnreachable', `the restored server in ${paths.root} does not run any more`, {
        next: 'Repeat the replay step, then open it.',
      });
    }
    await replay(request, null, toolsDirectory, ctx); // opened before: nothing is replayed, the server is only started
  }
  const marker = await writeMarker(paths.root, { ...(await ownMarker(paths, request)), tryId: newTry() });
  await withRestored(
    paths,
    marker,
    async (client) => {
      const inRecovery = async () =>
        ((await client.query('SELECT pg_is_in_recovery() AS yes')).rows[0] as { yes: boolean }).yes;
      // Going on from the target ends recovery at once; a promotion would be noticed only when the pause looks around, once a
      // second (xlogrecovery.c recoveryPausesHere).
      await client.query('SELECT pg_wal_replay_resume()').catch((error: unknown) => {
        if (sqlState(error) !== NOT_RECOVERING) throw error;
      });
      for (const deadline = Date.now() + PROMOTE_SECONDS * 1_000; await inRecovery();) {
        if (Date.now() > deadline) {
          throw failure(
            'PromotionFailed',
            `the restored server in ${paths.root} did not end its recovery within ${PROMOTE_SECONDS} s`,
          );
        }
        ctx.progress({ phase: 'opening the restored server' });
        await sleep(OPEN_LOOK_MILLISECONDS, undefined, { signal: ctx.signal });
      }
    },
    { signal: ctx.signal, statementMilliseconds: (PROMOTE_SECONDS + 10) * 1_000 },
  );
  const detail = (request.chain.at(-1) as Manifest).detail as BackupDetail;
  const settings = { host: marker.host, port: marker.port, detail, raised: {}, recovery: null };
  await writeServerConfig(paths, settings, await ownerOf(request.place));
  const opened = await advance(paths.root, { ...marker, phase: 'open' as const });
  await fs.rm(paths.wal, { recursive: true, force: true });
  return restored(paths, opened);
}

/**
 * Ends the paused server in order. What it took of the log since its last restart point lies in its pg_wal, so that it comes
 * up at the target by itself and opens there; see core/engine.ts `Restore.shutDown`.
 */
async function shutDown(
  request: RestoreRequest,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<RestoredStore> {
  const paths = pathsOf(request.place.directory);
  const before = await ownMarker(paths, request);
  const owner = await ownerOf(request.place);
  const { majorVersion } = before;
  if (before.phase === 'open') {
    throw failure(
      'RoleMismatch',
      `the restored server in ${paths.root} is open: it is not stopped at its target any more`,
      {
        data: 'The copy is as it was, open for writing.',
        next: 'Stop it with pg_ctl where it is not wanted, or restore again into the same directory with --overwrite.',
      },
    );
  }
  if (before.phase !== 'replayed' && before.phase !== 'shutdown') {
    throw failure('TargetNotEmpty', `the restore in ${paths.root} is not stopped at its target`, {
      next: 'Run the replay step first.',
    });
  }
  ctx.progress({ phase: 'shutting the restored server down' });
  const marker = await writeMarker(paths.root, { ...before, tryId: newTry() });
  await openWhenStarted(paths, owner);
  await serverOf(paths).stop();
  const after = await advance(paths.root, { ...marker, phase: 'shutdown' as const });
  return restored(paths, after, await findTool('postgres', majorVersion, toolsDirectory));
}

/** Stops and removes; only what carries the marker of a restore. Repeatable. */
async function discard(place: RestorePlace, ctx: CallContext): Promise<void> {
  const paths = pathsOf(place.directory);
  if (!(await mayRemove(paths.root))) return;
  ctx.progress({ phase: 'removing the restored server' });
  await serverOf(paths).stop();
  await clearRestore(paths.root, { keepMarker: false });
  await fs.rmdir(paths.root).catch(absent); // removed by an earlier call
}
