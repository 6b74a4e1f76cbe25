/**
 * glibc's malloc keeps what is freed: each thread gets an arena of its own, and once a large buffer was freed, the size from
 * which buffers are mapped one by one (and so given back to the system) rises to that buffer's, up to 32 MiB. A worker that
 * moves frames of 1 MiB and parts of 8 MiB then holds 200 MB of holes. Setting the thresholds keeps them where they start
 * (mallopt(3)); other C libraries do not know these names.
 */
const MALLOC = {
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
  MALLOC_ARENA_MAX: '2',
} as const;

/**
 * V8 lets the space for new objects grow to 48 MiB a thread, and touches all of it in time. What is short-lived here are
 * handles of buffers; a small space is collected more often, at no cost that a backup's time shows.
 */
const NODE_FLAG = '--max-semi-space-size';
const NODE_FLAG_MEBIBYTES = 4;

/**
 * Starts this program again in place (same process id) with settings that malloc and V8 read only at the start of a process,
 * so that a worker's memory is what it uses, however it was started. What the person who started it has set stays as it is.
 * Does nothing the second time.
 */
export function restartWithBoundedMemory(): void {
  const { env, execArgv, execPath, argv } = process;
  const missing = Object.entries(MALLOC).filter(([name]) => env[name] === undefined);
  const flags = execArgv.some((each) => each.startsWith(NODE_FLAG)) ? [] : [`${NODE_FLAG}=${NODE_FLAG_MEBIBYTES}`];
  if (process.platform !== 'linux' || (missing.length === 0 && flags.length === 0)) return;
  // Absent before Node 22.15 and 23.11: the worker then runs as well, with more memory.
  process.execve?.(execPath, [execPath, ...flags, ...execArgv, ...argv.slice(1)], {
    ...env,
    ...Object.fromEntries(missing),
  });
}
