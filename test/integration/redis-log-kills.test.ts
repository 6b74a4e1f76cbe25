import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { naming, readPieceName } from '../../adapters/engines/redis/positions';
import { countOf, seededRandom } from '../support/random';
import type { ArchiverInput } from '../support/redis-archiver-process';
import { connect, expectContent, iso, type Moment, momentOf, Store } from '../support/redis-store';
import { randomWrite } from '../support/redis-workload';
import { startTestS3, type TestS3 } from '../support/s3-repository';
import { startRedis, waitUntil } from '../support/servers';

const random = seededRandom('redis-log-kills');
const VICTIMS = ['archiver', 'S3', 'archiver and S3', 'server'] as const;

const children: ChildProcess[] = [];
afterAll(() => children.forEach((each) => each.kill('SIGKILL')));

/** In a process of its own, as a worker has it: killed, and started again. */
class ArchiverProcess {
  readonly gaps: string[] = [];
  readonly #input: Omit<ArchiverInput, 'answeredGaps'>;
  readonly #s3: TestS3;
  #child: ChildProcess | null = null;

  constructor(input: Omit<ArchiverInput, 'answeredGaps'>, s3: TestS3) {
    this.#input = input;
    this.#s3 = s3;
  }

  start(): void {
    const program = path.join(__dirname, '../support/redis-archiver-process.ts');
    const hook = path.join(__dirname, '../support/typescript-hook.cjs');
    const ARCHIVER = JSON.stringify({ ...this.#input, answeredGaps: this.gaps });
    const child = spawn(process.execPath, ['-r', hook, program], {
      env: { ...process.env, ARCHIVER },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => this.gaps.push(JSON.parse(line) as string));
    children.push(child);
    this.#child = child;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (!child || child.exitCode !== null) throw new Error(`the archiver had ended with ${child?.exitCode}`);
    child.kill('SIGKILL');
    await once(child, 'exit');
  }

  /** By what lies in S3, whoever was killed since. */
  async reaches(at: number): Promise<void> {
    await waitUntil(`S3 covering ${iso(at)}`, async () => {
      const archive = createLogArchive(this.#s3.repository('kills'), this.#input.store, naming);
      const pieces = (await Promise.all((await archive.lineages()).map((each) => archive.entries(each)))).flat();
      return pieces.some(({ name }) => (readPieceName(name)?.coversUntil ?? 0) >= at);
    });
  }
}

test('kill -9 of the archiver, of S3 and of the server while it writes: every moment before and between them is restored key by key', async () => {
  const [s3, server] = [await startTestS3(), await startRedis({ settings: { appendfsync: 'always' } })];
  const { host, port, password } = server;
  const store = new Store(
    { primary: server },
    { log: (order) => createLogArchive(s3.repository('kills'), 'cache', order) },
  );
  const { credentials, ...settings } = s3.settings('kills');
  const keys = {
    accessKeyId: credentials!.accessKeyId.reveal(),
    secretAccessKey: credentials!.secretAccessKey.reveal(),
  };
  const archiver = new ArchiverProcess({ store: 'cache', site: { host, port, password }, s3: settings, keys }, s3);
  archiver.start();
  await archiver.reaches(1);
  await store.back();
  let client = connect(server);
  const moments: Moment[] = [];
  let [killedServers, killed] = [0, ''];
  const rounds = countOf('KILLS', VICTIMS.length);
  for (let round = 0; round < rounds; round += 1) {
    const victim = VICTIMS[round % VICTIMS.length]!;
    killed += `${victim}; `;
    const fatal = 20 + random.integer(100);
    for (let step = 0; step < 150; step += 1) {
      await randomWrite(client, random);
      if (step !== fatal) continue;
      if (victim.includes('archiver')) await archiver.kill();
      if (victim.includes('S3')) await s3.server.server.kill('SIGKILL');
      if (victim === 'server') await server.server.kill('SIGKILL');
      // What is written without an archiver comes out of the backlog.
      if (victim !== 'server') for (let more = 0; more < 20; more += 1) await randomWrite(client, random);
      if (victim.includes('S3')) await s3.server.server.start();
      if (victim.includes('archiver')) archiver.start();
      if (victim !== 'server') continue;
      client.disconnect();
      await server.server.start();
      client = connect(server);
      killedServers += 1;
      await waitUntil('the new stream told', async () => archiver.gaps.length === killedServers);
      await store.back();
    }
    await client.select(0);
    moments.push(await momentOf(client, archiver));
  }
  expect(archiver.gaps).toHaveLength(killedServers);
  await archiver.kill();
  for (const moment of moments) await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, killed);
  await expectContent(store, { kind: 'latest' }, moments.at(-1)!, killed);
  client.disconnect();
  await server.stop();
  await s3.server.stop();
}, 600_000);
