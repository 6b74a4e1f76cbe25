import { makeTelemetryFilterString, Runtime, type LogLevel } from '@temporalio/worker';
import pino from 'pino';

/** One JSON line an event on standard error; `DRCTL_LOG_LEVEL` is pino's level. */
export const logger = pino({ level: process.env['DRCTL_LOG_LEVEL'] ?? 'info', base: null }, pino.destination(2));

const LEVELS: Record<LogLevel, pino.Level> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'info',
  WARN: 'warn',
  ERROR: 'error',
};

/** Once a process, before the first worker: the SDK logs through pino, its own core only from WARN on. */
export function installRuntime(): void {
  Runtime.install({
    logger: {
      log: (level, message, meta) => logger[LEVELS[level]](meta ?? {}, message),
      trace: (message, meta) => logger.trace(meta ?? {}, message),
      debug: (message, meta) => logger.debug(meta ?? {}, message),
      info: (message, meta) => logger.info(meta ?? {}, message),
      warn: (message, meta) => logger.warn(meta ?? {}, message),
      error: (message, meta) => logger.error(meta ?? {}, message),
    },
    telemetryOptions: { logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN' }) } },
    // The worker process decides when it ends: children are told first (main.ts).
    shutdownSignals: [],
  });
}
