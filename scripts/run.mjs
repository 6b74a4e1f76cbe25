// Every command of the project goes through here: node scripts/run.mjs <drctl|demo|test|test-deep|bench> [arguments].
// It makes sure of what the command needs (npm packages, a runtime, the build, the lab's servers), says what it does when it
// does something, and then runs the program. Plain JavaScript on Node 20 with nothing installed.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLabServers, labServersPresent } from './lab-servers.mjs';
import { withLock } from './lock.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const inRoot = (...parts) => path.join(root, ...parts);
const say = (line) => process.stderr.write(`drctl: ${line}\n`);

const PROGRAMS = {
  drctl: 'dist/starters/main.js',
  demo: 'dist/lab/demo.js',
  'test-deep': 'dist/bench/deep.js',
  bench: 'dist/bench/main.js',
};
/** @kubernetes/client-node needs an undici that needs this Node. */
const OLDEST_RUNTIME = [22, 19];
const SOURCES = ['core', 'config', 'adapters', 'activities', 'workflows', 'workers', 'starters', 'lab', 'bench'];

async function main([command, ...args]) {
  if (command !== 'test' && !(command in PROGRAMS))
    throw new Error(`unknown command "${command ?? ''}": one of ${['test', ...Object.keys(PROGRAMS)].join(', ')}`);
  ensurePackages();
  const runtime = pickRuntime();
  const env = {
    // A fifth of a command's start is compiling; where this cannot be written Node goes without it.
    NODE_COMPILE_CACHE: inRoot('dist/.compile-cache'),
    ...process.env,
    PATH: `${path.dirname(runtime)}${path.delimiter}${process.env.PATH ?? ''}`,
  };
  ensureBuild(runtime, env);
  if (needsServers(command, args)) ensureServers();
  if (command === 'test') return test(runtime, args, env);
  return run(runtime, [...flagsFor(command, args, env), inRoot(PROGRAMS[command]), ...args], { env });
}

/**
 * A command that a person waits for reads source maps only where it shows a stack, and does not begin with a young generation of
 * 1 MB, which loading alone fills a dozen times; V8's largest is 16 MB, too.
 */
function flagsFor(command, [noun], { DRCTL_DEBUG }) {
  if (command !== 'drctl' || noun === 'worker') return ['--enable-source-maps'];
  return ['--min-semi-space-size=16', ...(DRCTL_DEBUG ? ['--enable-source-maps'] : [])];
}

/** `npm ci` unless it ran for this package-lock.json. */
function ensurePackages() {
  const lockFile = inRoot('package-lock.json');
  const stampFile = inRoot('node_modules/.drctl-packages');
  const digest = createHash('sha256').update(fs.readFileSync(lockFile)).digest('hex');
  const installed = () => fs.existsSync(stampFile) && fs.readFileSync(stampFile, 'utf8') === digest;
  if (installed()) return;
  withLock(inRoot('.drctl-install-lock'), say, () => {
    if (installed()) return;
    if (!installedByHand(lockFile)) {
      refuseLink(inRoot('node_modules'));
      say('installing the npm packages of package-lock.json (npm ci)');
      const result = spawnSync('npm', ['ci', '--no-fund', '--no-audit', '--loglevel=error'], {
        cwd: root,
        stdio: ['ignore', 2, 2],
      });
      if (result.error) throw new Error('missing: npm, which comes with Node.js');
      if (result.status !== 0) throw new Error('npm ci failed; its message is above');
    }
    fs.writeFileSync(stampFile, digest);
  });
}

/** npm ci empties the folder first: through a link that would be another project's. */
function refuseLink(folder) {
  if (!fs.lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  throw new Error(
    `${folder} is a link to ${fs.realpathSync(folder)}, where other packages are installed: \`npm ci\` would empty it. ` +
      'Remove the link, then start again.',
  );
}

/** npm leaves a lock file of what it installed; one newer than ours means that somebody ran npm since. */
function installedByHand(lockFile) {
  const hidden = inRoot('node_modules/.package-lock.json');
  return fs.existsSync(hidden) && fs.statSync(hidden).mtimeMs >= fs.statSync(lockFile).mtimeMs;
}

/** This Node when it is new enough, else the one among the npm packages. */
function pickRuntime() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_RUNTIME[0] || (major === OLDEST_RUNTIME[0] && minor >= OLDEST_RUNTIME[1])) return process.execPath;
  const packaged = inRoot(`node_modules/node-${process.platform}-${process.arch}/bin/node`);
  if (fs.existsSync(packaged)) return packaged;
  throw new Error(
    `missing: Node.js ${OLDEST_RUNTIME.join('.')} or newer (this is ${process.version}, and no packaged one is for ${process.platform} on ${process.arch})`,
  );
}

/** Compiles when a source file or folder is newer than the last build. */
function ensureBuild(runtime, env) {
  const stamp = inRoot('dist/.built');
  const fresh = () => fs.existsSync(stamp) && newestSource() <= fs.statSync(stamp).mtimeMs;
  if (fresh()) return;
  withLock(inRoot('.drctl-build-lock'), say, () => {
    if (fresh()) return;
    say('building');
    const startedAt = new Date(); // what is edited while the compiler runs is newer than this, and is built the next time
    const compiler = inRoot('node_modules/typescript/bin/tsc');
    const result = spawnSync(runtime, [compiler, '-p', inRoot('tsconfig.build.json')], {
      cwd: root,
      env,
      stdio: ['ignore', 2, 2],
    });
    if (result.status !== 0) throw new Error("the build failed; the compiler's messages are above");
    fs.writeFileSync(stamp, '');
    fs.utimesSync(stamp, startedAt, startedAt);
  });
}

function newestSource() {
  let newest = 0;
  const look = (file) => (newest = Math.max(newest, fs.statSync(file).mtimeMs));
  const walk = (folder) => {
    look(folder); // a file that was removed or renamed shows in its folder
    for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
      const place = path.join(folder, entry.name);
      if (entry.isDirectory()) walk(place);
      else if (entry.name.endsWith('.ts')) look(place);
    }
  };
  for (const folder of SOURCES) if (fs.existsSync(inRoot(folder))) walk(inRoot(folder));
  for (const file of ['tsconfig.json', 'tsconfig.build.json', 'package-lock.json']) look(inRoot(file));
  return newest;
}

function needsServers(command, args) {
  if (command === 'drctl') return args[0] === 'lab' && args[1] === 'up' && !args.includes('--help');
  return !args.includes('--help');
}

function ensureServers() {
  if (!labServersPresent()) installLabServers(say);
}

/** Jest, and then its real result alone on a line. */
async function test(runtime, args, env) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-jest-'));
  const file = path.join(folder, 'result.json');
  try {
    // The MongoDB driver and the Kubernetes client import modules dynamically, which jest's sandbox allows only with this flag.
    const jest = [
      '--experimental-vm-modules',
      '--no-warnings=ExperimentalWarning',
      inRoot('node_modules/jest/bin/jest.js'),
    ];
    const code = await run(runtime, [...jest, '--json', `--outputFile=${file}`, ...args], {
      env,
      cwd: root,
      quietOutput: true,
    });
    const { line, failed } = summary(file);
    process.stdout.write(`${line}\n`);
    return code === 0 && failed > 0 ? 1 : code;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A suite that could not run counts as a failed test: jest itself counts none for it. */
function summary(file) {
  if (!fs.existsSync(file)) return { line: '0 passed, 1 failed', failed: 1 };
  const result = JSON.parse(fs.readFileSync(file, 'utf8'));
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const skipped = result.numPendingTests + result.numTodoTests;
  return {
    line: `${result.numPassedTests} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
    failed,
  };
}

/** Runs a program on our terminal, hands signals on and resolves to its exit code. */
function run(runtime, args, { env, cwd, quietOutput = false }) {
  // With --json and an output file jest still says on standard output where it wrote; people read its report on stderr.
  const child = spawn(runtime, args, { env, cwd, stdio: ['inherit', quietOutput ? 'ignore' : 'inherit', 'inherit'] });
  // A Ctrl-C on a terminal reaches the child by itself; a second one from us would cut its orderly end short.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'));
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + (os.constants.signals[signal] ?? 0)));
  });
}

main(process.argv.slice(2)).then(
  (code) => (process.exitCode = code),
  (error) => {
    say(error.message);
    process.exitCode = 1;
  },
);
