import { formatDuration } from '../../core/clock';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import { drillingOn } from '../proxies';
import type { DrillRun, Found } from './run';

/**
 * Stage 3: a name of its own is made, answers an address that stands for the lost site, and is moved to the bubble by the
 * zone's API, until every authoritative server answers so. The public names are not written.
 */
export async function failTheNameOver(run: DrillRun): Promise<Found> {
  const { app, steps } = run;
  const { name } = app.drill;
  if (!name) return { leftOut: 'the config has no `drill.name`', gap: app.dns.length > 0 };
  const { dnsPropagationSeconds: withinSeconds } = app.failover;
  // Twice as long as it may take: what is late is measured, too.
  const at = drillingOn(taskQueues.site(app.name, run.site), 2 * withinSeconds);
  run.made.name = true;
  await steps.run(`name:before`, `Make ${name.name}, as it is before a failover`, () =>
    at.pointDrillName({ application: app.name, to: 'before' }),
  );
  const { seconds, answers } = await steps.run(
    'name:move',
    `Move ${name.name} to the DR side`,
    () => at.pointDrillName({ application: app.name, to: 'values' }),
    (moved) => `${moved.answers.length} name servers answer ${name.values.join(', ')}`,
  );
  const took = formatDuration(seconds * 1_000);
  if (seconds > withinSeconds) {
    const limit = formatDuration(withinSeconds * 1_000);
    throw failure(
      'TrafficNotSwitched',
      `${name.name} answered everywhere after ${took}; failover.dnsWithin is ${limit}`,
    );
  }
  return `${name.name} was answered by all of ${answers.length} name servers after ${took}`;
}
