import { createServer } from 'node:net';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { accountOf, findProgram, freePort } from '../../adapters/engines/restore-host';
import { type Readiness, RestoredServer } from '../../adapters/engines/restored-server';
import { testContext } from '../support/call-context';
import { waitUntil } from '../support/servers';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-restored-server-'));
const made: RestoredServer[] = [];
let places = 0;

afterAll(async () => {
  await Promise.all(made.map((server) => server.stop()));
  fs.rmSync(root, { recursive: true, force: true });
});

/** A real process of a few lines that behaves as a test wants; it is known by the file of its program. */
function place(behaviour: string, stopSignals: [NodeJS.Signals, number][] = [['SIGKILL', 10_000]]) {
  const directory = path.join(root, `${(places += 1)}`);
  fs.mkdirSync(directory);
  const file = path.join(directory, 'server.js');
  const pidFile = path.join(directory, 'server.pid');
  fs.writeFileSync(file, `require('fs').writeFileSync(${JSON.stringify(pidFile)}, process.pid + '\\n');\n${behaviour}`);
  const server = () =>
    new RestoredServer({
      workingDirectory: directory,
      recognises: (words) => words.includes(file),
      pidFile,
      logFile: path.join(directory, 'server.log'),
      stopSignals,
    });
  const first = server();
  made.push(first);
  return { server: first, anew: server, pidFile, start: { program: process.execPath, argv: [file], account: null } };
}

const STAY = 'setInterval(() => {}, 1000); console.log("ready");';

function whenItSays(server: RestoredServer, word: string, patienceMilliseconds = 20_000): Readiness<string> {
  return {
    look: async () => {
      const said = await server.logTail();
      return said.includes(word) ? { ready: said.trim() } : { waiting: said };
    },
    patienceMilliseconds,
    ended: async (reason) => `${await server.lastWords()} (${reason})`,
    stuck: () => new Error('it stands still'),
  };
}

test('is found and stopped by another instance, as a later try of a step does', async () => {
  const { server, anew, start } = place(STAY);
  expect(await server.pid()).toBeNull();
  await expect(server.launch(start, whenItSays(server, 'ready'), testContext())).resolves.toBe('ready');
  const later = anew();
  const pid = await later.pid();
  expect(pid).not.toBeNull();
  await expect(later.whenReady(whenItSays(later, 'ready'), testContext())).resolves.toBe('ready');
  await later.stop();
  expect(() => process.kill(pid!, 0)).toThrow('ESRCH');
  await later.stop(); // repeatable
});

test('is told more firmly when it does not obey, and not before', async () => {
  const deaf = `process.on('SIGTERM', () => console.log('asked'));\n${STAY}`;
  const { server, start } = place(deaf, [
    ['SIGTERM', 500],
    ['SIGKILL', 10_000],
  ]);
  await server.launch(start, whenItSays(server, 'ready'), testContext());
  const before = Date.now();
  await server.stop();
  expect(Date.now() - before).toBeGreaterThanOrEqual(500);
  expect(await server.logTail()).toContain('asked');
  expect(await server.pid()).toBeNull();
});

test('a pid that was given to another process is left alone', async () => {
  const { server, pidFile } = place(STAY);
  fs.writeFileSync(pidFile, `${process.pid}\n`);
  expect(await server.pid()).toBeNull();
  await server.stop();
  fs.writeFileSync(pidFile, '');
  expect(await server.pid()).toBeNull();
});

test('its end is told with how it ended and what it said', async () => {
  const { server, start } = place('console.log("the disk is wet"); process.exitCode = 3;');
  await expect(server.launch(start, whenItSays(server, 'ready'), testContext())).resolves.toBe(
    'the disk is wet (exit status 3)',
  );
  const none = place(STAY);
  const missing = { ...none.start, program: path.join(root, 'no-such-server') };
  await expect(none.server.launch(missing, whenItSays(none.server, 'ready'), testContext())).resolves.toContain(
    'ENOENT',
  );
});

test('one that goes on has time, one that stands still is given up and does not stay behind', async () => {
  // Every 200 ms a word, five times as long as its patience, before it stands still.
  const slow = place('let n = 0; setInterval(() => { if (n < 10) console.log("word", n); n += 1; }, 200);');
  const readiness = whenItSays(slow.server, 'ready', 1_500);
  await expect(slow.server.launch(slow.start, readiness, testContext())).rejects.toThrow('it stands still');
  expect(await slow.server.logTail()).toContain('word 9');
  await waitUntil('the end of what was given up', async () => (await slow.server.pid()) === null);
});

test('an aborted launch leaves no process', async () => {
  const { server, pidFile, start } = place('setInterval(() => {}, 1000);');
  const abort = new AbortController();
  const launched = server.launch(start, whenItSays(server, 'never'), testContext(abort.signal));
  await waitUntil('its pid file', async () => fs.existsSync(pidFile) && fs.readFileSync(pidFile, 'utf8') !== '');
  abort.abort();
  await expect(launched).rejects.toThrow(/abort/i);
  await waitUntil('its end', async () => (await server.pid()) === null);
});

test('the port is free as soon as it is stopped, also where the end of much memory and many threads takes time', async () => {
  const port = await freePort('127.0.0.1');
  const heavy = `
    const held = Buffer.alloc(512 * 2 ** 20, 1);
    const { Worker } = require('worker_threads');
    for (let n = 0; n < 4; n += 1) new Worker('setInterval(() => {}, 1000)', { eval: true });
    require('net').createServer().listen(${port}, '127.0.0.1', () => console.log('ready', held.length));`;
  for (let round = 0; round < 3; round += 1) {
    const { server, start } = place(heavy);
    await server.launch(start, whenItSays(server, 'ready'), testContext());
    await server.stop();
    const next = createServer();
    const listening = new Promise<void>((resolve, reject) =>
      next.once('error', reject).listen(port, '127.0.0.1', resolve),
    );
    await expect(listening).resolves.toBeUndefined();
    await new Promise((resolve) => next.close(resolve));
  }
});

test('a port, an account and a program are found or their absence is said', async () => {
  expect(await freePort('127.0.0.1', 5433)).toBe(5433);
  expect(await freePort('127.0.0.1')).toBeGreaterThan(0);
  expect(await accountOf(null)).toBeNull();
  const { uid, gid, username } = os.userInfo();
  expect(await accountOf(username)).toEqual({ uid, gid });
  await expect(accountOf('no-such-user')).rejects.toMatchObject({ type: 'ConfigInvalid' });
  await expect(accountOf('-u')).rejects.toMatchObject({ type: 'ConfigInvalid' });
  expect(await findProgram('server.js', path.join(root, '1'))).toBeNull(); // not executable
  expect(await findProgram(path.basename(process.execPath), path.dirname(process.execPath))).toBe(process.execPath);
});
