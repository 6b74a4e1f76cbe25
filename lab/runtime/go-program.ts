import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { cacheFolder, projectRoot } from './servers';

const run = promisify(execFile);

/** A program that no registry has, built from Go modules that are pinned beside its sources. */
export interface GoProgram {
  /** In words: "the Kubernetes API server". */
  readonly what: string;
  /** Its folder below `lab/`, and below the cache. */
  readonly folder: string;
  readonly name: string;
  readonly sources: readonly string[];
  /** What `go build` is to build: `.`, or a package of a module in `go.mod`. */
  readonly target: string;
  /** The first Go that builds it (`go` line of go.mod). */
  readonly minGo: readonly [major: number, minor: number];
  /** "about five minutes, 565 MB of Go modules" */
  readonly cost: string;
}

/** On a busy machine or a slow network several times what it takes on two idle cores. */
const BUILD_DEADLINE_MS = 30 * 60_000;

/** Null when the program is built or can be; otherwise why not, in words for the list of tests that were not run. */
export function whyNotBuilt(wantedProgram: GoProgram): string | null {
  if (fs.existsSync(programFile(wantedProgram))) return null;
  const { what, minGo } = wantedProgram;
  const wanted = `Go ${minGo.join('.')} or newer to build ${what}`;
  const env = { ...process.env, GOTOOLCHAIN: 'local' };
  const { stdout, error } = spawnSync('go', ['env', 'GOVERSION'], { env, encoding: 'utf8', timeout: 10_000 });
  if (error) return `needs ${wanted} (${error.message})`;
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(stdout) ?? [];
  const enough = Number(major) > minGo[0] || (Number(major) === minGo[0] && Number(minor) >= minGo[1]);
  return enough ? null : `needs ${wanted}, found ${stdout.trim()}`;
}

/**
 * The program, from the cache that all clones share, built first when these sources were never built. Of two who want it
 * at the same time the second waits for the lock of flock(1), which the kernel drops with its holder, and then only links.
 */
export async function builtProgram(wanted: GoProgram, onProgress: (line: string) => void = () => {}): Promise<string> {
  const program = programFile(wanted);
  if (fs.existsSync(program)) return program;
  const why = whyNotBuilt(wanted);
  if (why) throw new Error(why);
  onProgress(`building ${wanted.what} from source, once: ${wanted.cost}`);
  fs.mkdirSync(path.dirname(program), { recursive: true, mode: 0o755 });
  // Built under another name and renamed, so that half a program is never found.
  const unfinished = `${program}.${process.pid}`;
  // One package at a time and with low priority: it must not starve the servers that run beside it.
  const build = ['nice', '-n', '10', 'go', 'build', '-p', '1', '-trimpath', '-buildvcs=false', '-ldflags', '-s -w'];
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOFLAGS: '' };
  const limits = { timeout: BUILD_DEADLINE_MS, maxBuffer: 16 * 1024 * 1024 };
  await run('flock', ['--close', `${program}.lock`, ...build, '-o', unfinished, wanted.target], {
    cwd: sourceFolder(wanted),
    env,
    ...limits,
  });
  fs.renameSync(unfinished, program);
  return program;
}

function sourceFolder({ folder }: GoProgram): string {
  return path.join(projectRoot(), 'lab', folder);
}

/** The name carries the digest of the sources, so an upgrade does not disturb a server that runs. */
function programFile(wanted: GoProgram): string {
  const digest = createHash('sha256').update(os.arch());
  for (const source of wanted.sources) digest.update(fs.readFileSync(path.join(sourceFolder(wanted), source)));
  return path.join(cacheFolder(), wanted.folder, digest.digest('hex').slice(0, 12), wanted.name);
}
