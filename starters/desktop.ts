import { spawn } from 'node:child_process';

/** A launcher hands the file over and ends; one that fails does so by then, one that is still busy has found a program. */
const LAUNCH_MILLISECONDS = 3_000;

/** Opens a file with the program that the desktop has for it. False where there is no desktop, or it has none. */
export async function openOnDesktop(file: string, env: Readonly<Record<string, string | undefined>>): Promise<boolean> {
  const launcher = launcherFor(process.platform, env);
  if (launcher === null) return false;
  const child = spawn(launcher, [file], { stdio: 'ignore', detached: true, env });
  const ended = new Promise<boolean>((resolve) => {
    child.once('error', () => resolve(false)); // no such program: the path is printed, and the person opens it
    child.once('exit', (code) => resolve(code === 0));
  });
  let timer: NodeJS.Timeout | undefined;
  const busy = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(true), LAUNCH_MILLISECONDS)));
  try {
    return await Promise.race([ended, busy]);
  } finally {
    clearTimeout(timer);
    child.unref();
  }
}

/** Null where nobody could see it. */
export function launcherFor(
  platform: NodeJS.Platform,
  env: Readonly<Record<string, string | undefined>>,
): string | null {
  if (platform === 'darwin') return env['SSH_CONNECTION'] ? null : 'open';
  return env['DISPLAY'] || env['WAYLAND_DISPLAY'] ? 'xdg-open' : null;
}
