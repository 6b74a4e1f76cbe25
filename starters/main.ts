import { registerBackup } from './commands/backup';
import { registerBackups } from './commands/backups';
import { registerChecklist } from './commands/checklist';
import { registerConfig } from './commands/config';
import { registerCopies } from './commands/copies';
import { registerDns } from './commands/dns';
import { registerDrill } from './commands/drill';
import { registerFailover } from './commands/failover';
import { registerFiles } from './commands/files';
import { registerKeys } from './commands/keys';
import { registerLab } from './commands/lab';
import { registerLifecycle } from './commands/lifecycle';
import { registerLog } from './commands/log';
import { registerMetrics } from './commands/metrics';
import { registerPlan } from './commands/plan';
import { registerProofs } from './commands/proofs';
import { registerReport } from './commands/report';
import { registerRestore } from './commands/restore';
import { registerRetention } from './commands/retention';
import { registerRuns } from './commands/runs';
import { registerSchedules } from './commands/schedules';
import { registerSites } from './commands/sites';
import { registerStatus } from './commands/status';
import { registerSwitchover } from './commands/switchover';
import { registerVerify } from './commands/verify';
import { registerWorker } from './commands/worker';
import { FAILURES } from '../core/failure-classes';
import { Front } from './front';
import { type Io, leave, processIo } from './io';
import { describeError, errorLines, isCommanderError } from './show-error';

/** In the order of a person's day: look, keep, bring back, move, look after. */
const NOUNS = [
  registerStatus,
  registerBackup,
  registerBackups,
  registerFiles,
  registerLog,
  registerRetention,
  registerLifecycle,
  registerCopies,
  registerVerify,
  registerProofs,
  registerRestore,
  registerPlan,
  registerFailover,
  registerDns,
  registerSwitchover,
  registerDrill,
  registerReport,
  registerChecklist,
  registerMetrics,
  registerSchedules,
  registerRuns,
  registerSites,
  registerKeys,
  registerConfig,
  registerWorker,
  registerLab,
];

/** Every command, ready to be run. */
export function commandLine(io: Io): Front {
  const front = new Front(io);
  for (const register of NOUNS) register(front);
  return front;
}

/** The front door. Runs one command line and answers its exit code; nothing is thrown. */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const front = commandLine(io);
  try {
    await front.program.parseAsync(argv.length === 0 ? ['--help'] : argv, { from: 'user' });
    return front.exitCode;
  } catch (error) {
    // Commander has printed its own message by then; help that was asked for is no error.
    if (isCommanderError(error)) return error.exitCode === 0 ? 0 : FAILURES.UsageInvalid.exitCode;
    return report(error, argv, io);
  }
}

function report(error: unknown, argv: readonly string[], io: Io): number {
  const shown = describeError(
    error,
    `drctl ${argv
      .slice(0, 2)
      .filter((word) => !word.startsWith('-'))
      .join(' ')}`.trim(),
  );
  io.live(null);
  if (wantsJson(argv)) io.out(JSON.stringify({ error: shown }, null, 2));
  else for (const line of errorLines(shown)) io.note(line);
  if (io.env['DRCTL_DEBUG'] && error instanceof Error) io.note(error.stack ?? error.message);
  return shown.exitCode;
}

/** Looked up by hand, because a command line that cannot be parsed may still ask for JSON. */
function wantsJson(argv: readonly string[]): boolean {
  return argv.some(
    (word, index) =>
      word === '--output=json' || (word === 'json' && ['-o', '--output'].includes(argv[index - 1] ?? '')),
  );
}

if (require.main === module) void main(process.argv.slice(2), processIo()).then(leave);
