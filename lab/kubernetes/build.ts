import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, projectRoot } from '../runtime/servers';

const run = promisify(execFile);

/** The first Go that builds Kubernetes 1.36 (`go` line of go.mod). */
const MIN_GO = [1, 26] as const;
/** 4.5 minutes cold on two idle cores; on a busy machine or a slow network several times that. */
const BUILD_DEADLINE_MS = 30 * 60_000;
const SOURCES = ['go.mod', 'go.sum', 'main.go'];

/** Null when the server is built or can be; otherwise why not, in words for the list of tests that were not run. */
export function whyNoApiServer(): string | null {
  if (fs.existsSync(programFile())) return null;
  const wanted = `Go ${MIN_GO.join('.')} or newer to build the Kubernetes API server`;
  const env = { ...process.env, GOTOOLCHAIN: 'local' };
  const { stdout, error } = spawnSync('go', ['env', 'GOVERSION'], { env, encoding: 'utf8', timeout: 10_000 });
  if (error) return `needs ${wanted} (${error.message})`;
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout) ?? [];
  const enough = Number(major) > MIN_GO[0] || (Number(major) === MIN_GO[0] && Number(minor) >= MIN_GO[1]);
  return enough ? null : `needs ${wanted}, found ${stdout.trim()}`;
}

/**
 * The program, from the cache that all clones share, built first when these sources were never built. Of two who want it
 * at the same time the second waits for the lock of flock(1), which the kernel drops with its holder, and then only links.
 */
export async function builtApiServer(onProgress: (line: string) => void = () => {}): Promise<string> {
  const program = programFile();
  if (fs.existsSync(program)) return program;
  const why = whyNoApiServer();
  if (why) throw new Error(why);
  onProgress('building the Kubernetes API server from source, once: about five minutes, 565 MB of Go modules');
  fs.mkdirSync(path.dirname(program), { recursive: true, mode: 0o755 });
  // Built under another name and renamed, so that half a program is never found.
  const unfinished = `${program}.${process.pid}`;
  // One package at a time and with low priority: it must not starve the servers that run beside it.
  const build = ['nice', '-n', '10', 'go', 'build', '-p', '1', '-trimpath', '-buildvcs=false', '-ldflags', '-s -w'];
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '' };
  const limits = { timeout: BUILD_DEADLINE_MS, maxBuffer: 16 * 1024 * 1024 };
  await run('flock', ['--close', `${program}.lock`, ...build, '-o', unfinished, '.'], {
    cwd: sourceFolder(),
    env,
    ...limits,
  });
  fs.renameSync(unfinished, program);
  return program;
}

function sourceFolder(): string {
  return path.join(projectRoot(), 'lab', 'kubernetes');
}

/** The name carries the digest of the sources, so an upgrade does not disturb a server that runs. */
function programFile(): string {
  const digest = createHash('sha256').update(os.arch());
  for (const source of SOURCES) digest.update(fs.readFileSync(path.join(sourceFolder(), source)));
  return path.join(cacheFolder(), 'kubernetes', digest.digest('hex').slice(0, 12), 'kubernetes-api');
}
