import { judgeSpeed } from '../../core/drill-judgements';
import { failure } from '../../core/errors';
import { drillingOn } from '../proxies';
import type { DrillRun, Found } from './run';

/** An endpoint that needs longer for its share is counted by what it has answered until its own timeout. */
const MEASURING_SECONDS = 900;

/** Stage 5: each endpoint is requested some hundred times under the isolated name, and compared with the earlier drills. */
export async function measurePerformance(run: DrillRun): Promise<Found> {
  const { app, steps } = run;
  const application = app.name;
  const { bubble, name, performance } = app.drill;
  if (app.endpoints.length === 0) return { leftOut: 'the config has no `endpoints`', gap: false };
  if (!bubble || !name) return { leftOut: 'the config has no `drill.bubble` with a `drill.name`', gap: true };
  run.needs('application');
  // The ways to the copies may lead through this worker: one that restarts opens them again, and measures anew.
  const at = drillingOn(run.hostQueue, MEASURING_SECONDS);
  const { requests, concurrency } = performance;
  const measured = [];
  for (const check of app.endpoints) {
    measured.push(
      await steps.run(
        `speed:${check.url}`,
        `Request ${check.url} ${requests} times`,
        () => at.measureSpeed({ application, check, requests, concurrency }),
        ({ p50Milliseconds, p95Milliseconds, perSecond, failed }) =>
          `p50 ${p50Milliseconds} ms, p95 ${p95Milliseconds} ms, ${perSecond} a second${failed > 0 ? `, ${failed} FAILED` : ''}`,
      ),
    );
  }
  const earlier = await steps.run(
    'speed:baseline',
    'Compare with earlier drills',
    () => at.earlierSpeeds({ application }),
    (drills) => (drills.length === 0 ? 'there are none yet: this one begins the baseline' : `${drills.length} drills`),
  );
  run.speeds = judgeSpeed(measured, earlier, performance);
  const bad = run.speeds.flatMap(({ url, verdict }) => (verdict === null ? [] : [`${url}: ${verdict}`]));
  if (bad.length > 0) throw failure('VerificationFailed', bad.join('; '));
  const slowest = Math.max(...run.speeds.map(({ p95Milliseconds }) => p95Milliseconds));
  return `p95 at most ${slowest} ms over ${run.speeds.length} endpoints, compared with ${earlier.length} earlier drills`;
}
