import { taskQueues } from '../../core/names';
import type { Front } from '../front';

export function registerWorker(front: Front): void {
  front.command(
    front.program,
    'worker',
    'how to run the workers of this config',
    [['drctl worker', '']],
    async (session) => {
      const { config, application } = session;
      const workers = Object.keys(config.sites).map((site) => ({
        site,
        command: ['node', 'dist/workers/main.js', '--config', config.file, '--site', site],
        taskQueue: taskQueues.site(application, site),
      }));
      session.print(workers, () => [
        'Run one worker at each site (more for more throughput), on a host that reaches its stores:',
        ...workers.flatMap(({ site, command, taskQueue }) => [
          '',
          `  at ${site}  (task queue ${taskQueue})`,
          `  $ ${command.join(' ')}`,
        ]),
        '',
        `Each reads its secrets from the environment and files that ${config.file} names, and keeps dumps in ${config.spool.directory}.`,
      ]);
    },
  );
}
