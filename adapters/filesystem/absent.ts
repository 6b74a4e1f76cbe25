/** For `.catch`: null where a file, or a process below /proc, is not there; every other error stays one. */
export function absent(error: unknown): null {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ESRCH') return null;
  throw error;
}
