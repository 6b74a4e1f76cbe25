import { Context } from '@temporalio/activity';
import type { CallContext, Progress } from '../core/call';

/**
 * A beat every four seconds for as long as the process lives: a worker that was killed is then noticed within the
 * heartbeat timeout, however long one step of an engine takes without a word. Hanging calls are bounded by the adapters'
 * own deadlines and by startToClose, not by the heartbeat.
 */
const BEAT_MILLISECONDS = 4_000;

/**
 * Progress is sent no more often than anybody looks: every report crosses into the SDK's core and is encoded there, which
 * took a quarter of a backup of many small files. The next beat sends the newest report, whatever came between.
 */
const PROGRESS_MILLISECONDS = 500;

/**
 * Runs an activity's work with the context that adapters want, heartbeating the newest progress and whatever `resume`
 * state the work keeps. `resume` holds what an earlier attempt of this activity last reported.
 */
export async function withCallContext<R, S = never>(
  work: (ctx: CallContext, resume: { readonly state: S | null; keep(state: S): void }) => Promise<R>,
): Promise<R> {
  const { info, heartbeat, log, cancellationSignal } = Context.current();
  let progress: Progress | null = null;
  let kept: S | null = (info.heartbeatDetails as { state?: S } | undefined)?.state ?? null;
  let beatenAt = -Infinity;
  const beat = () => {
    beatenAt = performance.now();
    heartbeat({ progress, state: kept });
  };
  const timer = setInterval(beat, BEAT_MILLISECONDS);
  const ctx: CallContext = {
    signal: cancellationSignal,
    log: {
      debug: (fields, message) => log.debug(message, { ...fields }),
      info: (fields, message) => log.info(message, { ...fields }),
      warn: (fields, message) => log.warn(message, { ...fields }),
      error: (fields, message) => log.error(message, { ...fields }),
    },
    progress(report) {
      progress = report;
      if (performance.now() - beatenAt >= PROGRESS_MILLISECONDS) beat();
    },
  };
  try {
    return await work(ctx, {
      state: kept,
      keep(state) {
        kept = state;
        beat();
      },
    });
  } finally {
    clearInterval(timer);
  }
}
