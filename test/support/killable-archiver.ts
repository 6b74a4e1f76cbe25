import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import { naming, readPieceName } from '../../adapters/engines/redis/positions';
import { createLogArchive } from '../../adapters/repository/log-archive';
import type { LogArchive, LogNaming } from '../../core/log-archive';
import type { ArchiverInput } from './redis-archiver-process';
import { iso } from './redis-store';
import type { TestS3 } from './s3-repository';
import { waitUntil } from './servers';

const PREFIX = 'kills';
const STORE = 'cache';

const children: ChildProcess[] = [];
afterAll(() => children.forEach((each) => each.kill('SIGKILL')));

/** What such an archiver stores in this S3, by the order of the engine's names. */
export const archivedIn = (s3: TestS3, order: LogNaming): LogArchive =>
  createLogArchive(s3.repository(PREFIX), STORE, order);

/** In a process of its own, as a worker has it: killed, and started again. */
export class KillableArchiver {
  readonly gaps: string[] = [];
  readonly #s3: TestS3;
  #child: ChildProcess | null = null;

  constructor(s3: TestS3) {
    this.#s3 = s3;
  }

  start({ host, port, password }: ArchiverInput['site']): void {
    const { credentials, ...s3 } = this.#s3.settings(PREFIX);
    const { accessKeyId, secretAccessKey } = credentials!;
    const keys = { accessKeyId: accessKeyId.reveal(), secretAccessKey: secretAccessKey.reveal() };
    const site = { host, port, password };
    const input: ArchiverInput = { store: STORE, site, s3, keys, answeredGaps: this.gaps };
    const program = path.join(__dirname, 'redis-archiver-process.ts');
    const hook = path.join(__dirname, 'typescript-hook.cjs');
    const child = spawn(process.execPath, ['-r', hook, program], {
      env: { ...process.env, ARCHIVER: JSON.stringify(input) },
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
      const archive = archivedIn(this.#s3, naming);
      const pieces = (await Promise.all((await archive.lineages()).map((each) => archive.entries(each)))).flat();
      return pieces.some(({ name }) => (readPieceName(name)?.coversUntil ?? 0) >= at);
    });
  }
}
