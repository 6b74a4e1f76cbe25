import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createFilesEngine } from '../../adapters/engines/files/engine';
import { settings } from '../../adapters/engines/files/settings';
import type { Manifest } from '../../core/catalog';
import { hasCode } from '../../core/errors';
import type { VolumeSource } from '../../core/volumes';
import { combinedSource, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { changeRandomTree, describeTree, makeRandomTree } from '../support/random-tree';
import { seededNumbers, seedsOfRounds } from '../support/random';

/** Backups of one chain; the issue asks for 20, which a deep run has. */
const BACKUPS = Number(process.env['DRCTL_STEPS'] ?? 7);

const folders: string[] = [];
function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-files-chain-'));
  folders.push(made);
  return made;
}
afterAll(() => folders.forEach((each) => fs.rmSync(each, { recursive: true, force: true })));

/** One tree with its backups in memory. */
class Chain {
  readonly root = folder();
  readonly backups: Manifest[] = [];
  readonly volumes = new Map<string, MemoryVolumes>();
  readonly engine: ReturnType<typeof createFilesEngine>;

  constructor(extra: Record<string, unknown> = {}) {
    const parsed = settings.parse({ sites: { primary: { roots: [this.root] } }, ...extra });
    this.engine = createFilesEngine({ store: 'application', settings: parsed });
  }

  /** `laterMilliseconds`: as if everything had been as it is for so long when the backup began. */
  async back(type: 'full' | 'incr', laterMilliseconds = 3_600_000): Promise<Manifest> {
    const options = { type, targetVolumeBytes: 60_000 };
    const { manifest } = await takeBackup(this.engine, 'primary', this.volumes, this.backups, options);
    const startedAt = new Date(Date.parse(manifest.startedAt) + laterMilliseconds).toISOString();
    this.backups.push({ ...manifest, startedAt });
    return manifest;
  }

  async restore(backupId: string): Promise<string> {
    const catalog = { backups: this.backups, log: null };
    const plan = await this.engine.planRestore({ kind: 'backup', backupId }, catalog, testContext());
    const chain = plan.chain.map((id) => this.backups.find((each) => each.backupId === id) as Manifest);
    const directory = path.join(folder(), 'place');
    const place = { directory, host: '127.24.0.9', port: 0, osUser: null, overwrite: false };
    const request = { restoreId: 'restore', plan, chain, place };
    await this.engine.restore.rebuild(request, combinedSource(this.volumes), null, testContext());
    return directory + this.root;
  }

  /** Unpacks one path of the newest backup; answers what lies in the directory, and which volumes were read. */
  async extract(path_: string): Promise<{ directory: string; names: string[]; read: string[] }> {
    const directory = path.join(folder(), 'found');
    const read: string[] = [];
    const all = combinedSource(this.volumes);
    const source: VolumeSource = { ...all, open: (artifact) => (read.push(artifact.key), all.open(artifact)) };
    await this.engine.contents!.extract({ chain: this.backups, path: path_, directory }, source, testContext());
    const names = execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P\\0'], { cwd: directory + this.root });
    return { directory, names: names.toString('latin1').split('\0').slice(0, -1).toSorted(), read };
  }

  contentsOf(backupId: string): Map<string, Buffer> {
    return this.volumes.get(backupId)?.contents as Map<string, Buffer>;
  }

  storedBytes(backupId: string): number {
    return [...this.contentsOf(backupId)]
      .filter(([name]) => /^vol-\d/.test(name))
      .reduce((sum, [, bytes]) => sum + bytes.length, 0);
  }

  /** As the document says: what is deleted first, then the volumes in the order of their names. */
  byHand(): string {
    const place = folder();
    for (const { backupId } of this.backups) {
      const contents = this.contentsOf(backupId);
      const deleted = contents.get('deleted.list');
      if (deleted) execFileSync('xargs', ['-0', '-r', 'rm', '-rf', '--'], { input: deleted, cwd: place });
      for (const name of [...contents.keys()].filter((each) => each.endsWith('.tar')).toSorted()) {
        const args = [
          '-xpf',
          '-',
          '--numeric-owner',
          '--delay-directory-restore',
          '--warning=no-timestamp',
          '-C',
          place,
        ];
        execFileSync('tar', args, { input: contents.get(name) });
      }
    }
    return place + this.root;
  }
}

describe('every state of a tree that changes at random is restored as it was', () => {
  test.each(seedsOfRounds(1))(
    'seed %i',
    async (seed) => {
      const chain = new Chain();
      const next = seededNumbers(seed);
      makeRandomTree(chain.root, next, 150);
      const models: string[][] = [];
      for (let taken = 0; taken < BACKUPS; taken++) {
        if (taken > 0) changeRandomTree(chain.root, next, 12);
        models.push(describeTree(chain.root));
        const { type, parent, warnings } = await chain.back(taken === 0 ? 'full' : 'incr');
        expect({ type, parent, warnings }).toEqual({
          type: taken === 0 ? 'full' : 'incr',
          parent: chain.backups.at(-2)?.backupId ?? null,
          warnings: [],
        });
      }
      expect(chain.backups.slice(1).every(({ detail }) => Number(detail['unchanged']) > 20)).toBe(true);
      for (const [index, { backupId }] of chain.backups.entries()) {
        const restored = await chain.restore(backupId);
        expect({ seed, index, tree: describeTree(restored) }).toEqual({ seed, index, tree: models[index] });
      }
      expect(describeTree(chain.byHand())).toEqual(models.at(-1));
    },
    180_000,
  );
});

test('an incremental stores and lists what changed, and nothing else', async () => {
  const chain = new Chain();
  const file = (index: number) => path.join(chain.root, `file-${index}`);
  for (let index = 0; index < 30; index++) fs.writeFileSync(file(index), Buffer.alloc(10_000, index));
  await chain.back('full');
  const unchanged = await chain.back('incr');
  expect(chain.storedBytes(unchanged.backupId)).toBe(0);
  expect(unchanged.detail['unchanged']).toBe(30);
  const before = fs.statSync(file(3));
  fs.writeFileSync(file(3), Buffer.alloc(10_000, 99));
  fs.utimesSync(file(3), before.atime, before.mtime);
  fs.rmSync(file(4));
  const changed = await chain.back('incr');
  expect(chain.storedBytes(changed.backupId)).toBeLessThan(25_000);
  const contents = chain.contentsOf(changed.backupId);
  expect(contents.get('deleted.list')?.toString()).toBe(`${file(4).slice(1)}\0`);
  const lines = contents.get('listing.jsonl')!.toString().trim().split('\n');
  const listed = lines.map((line) => (JSON.parse(line) as { path: string }).path);
  expect(listed.toSorted()).toEqual([chain.root, file(3)].toSorted());
});

test('what had changed just before the parent began is stored again: its time of change may hide another', async () => {
  const chain = new Chain();
  const young = path.join(chain.root, 'young');
  fs.writeFileSync(young, 'young');
  const { ctimeMs } = fs.statSync(young);
  const beganAt = (milliseconds: number) => ({
    ...chain.backups[0]!,
    startedAt: new Date(Math.floor(ctimeMs) + milliseconds).toISOString(),
  });
  await chain.back('full');
  chain.backups.splice(0, 1, beganAt(1_999));
  expect((await chain.back('incr')).detail['unchanged']).toBe(0);
  chain.backups.splice(0, 2, beganAt(2_002));
  expect((await chain.back('incr')).detail['unchanged']).toBe(1);
});

test('names of one file stay names of one file, however they come and go', async () => {
  const chain = new Chain({ excludes: ['left-out'] });
  const at = (name: string) => path.join(chain.root, name);
  fs.writeFileSync(at('a'), 'one');
  fs.linkSync(at('a'), at('b'));
  fs.linkSync(at('a'), at('left-out'));
  await chain.back('full');
  await chain.back('incr');
  expect(chain.backups.at(-1)?.detail['unchanged']).toBe(2);
  // Its attributes stay as they were, but only some of its names are in the backups from now on.
  const fewer = new Chain({ excludes: ['left-out', 'a'], sites: { primary: { roots: [chain.root] } } });
  const existing = chain.backups;
  const { manifest } = await takeBackup(fewer.engine, 'primary', chain.volumes, existing, { type: 'incr' });
  chain.backups.push(manifest);
  const restored = await chain.restore(manifest.backupId);
  expect(fs.readdirSync(restored)).toEqual(['b']);
  expect(fs.readFileSync(path.join(restored, 'b'), 'utf8')).toBe('one');
});

describe('one path out of a chain', () => {
  const chain = new Chain();
  const at = (name: string) => path.join(chain.root, name);
  beforeAll(async () => {
    fs.mkdirSync(at('config'));
    fs.mkdirSync(at('other'));
    for (let index = 0; index < 12; index++) fs.writeFileSync(at(`other/${index}`), Buffer.alloc(20_000, index));
    fs.writeFileSync(at('config/app.yaml'), 'port: 80');
    fs.chmodSync(at('config/app.yaml'), 0o640);
    fs.symlinkSync('/etc', at('config/link'));
    fs.writeFileSync(at('other/shared'), 'shared');
    fs.linkSync(at('other/shared'), at('config/same'));
    fs.symlinkSync('nowhere', at('other/linked'));
    fs.linkSync(at('other/linked'), at('config/linked'));
    await chain.back('full');
    fs.writeFileSync(at('config/new'), 'new');
    await chain.back('incr');
  });

  test('is written with all in it, and only the volumes that hold it are read', async () => {
    const { directory, names, read } = await chain.extract(`${at('config')}/`);
    expect(names).toEqual(['config', ...['app.yaml', 'link', 'linked', 'new', 'same'].map((each) => `config/${each}`)]);
    expect(describeTree(directory + at('config'))).toEqual(describeTree(at('config')));
    const volumes = chain.backups.flatMap(({ artifacts }) => artifacts).filter(({ name }) => /^vol-\d/.test(name));
    expect(volumes.length).toBeGreaterThan(4);
    expect(read.filter((key) => /vol-\d/.test(key)).length).toBeLessThan(volumes.length);
  });

  test('a file comes alone, also where its content lies under another of its names', async () => {
    expect((await chain.extract(at('config/app.yaml'))).names).toEqual(['config', 'config/app.yaml']);
    for (const name of ['config/same', 'other/shared']) {
      const { directory, names } = await chain.extract(at(name));
      expect(names).toEqual([path.dirname(name), name]);
      expect(fs.readFileSync(directory + at(name), 'utf8')).toBe('shared');
    }
    for (const name of ['config/linked', 'other/linked']) {
      const { directory, names } = await chain.extract(at(name));
      expect(names).toEqual([path.dirname(name), name]);
      expect(fs.readlinkSync(directory + at(name))).toBe('nowhere');
    }
  });

  test('what is not there is said, and nothing is written into a directory that holds something', async () => {
    const missing = await chain.extract(at('conf')).catch((error: unknown) => error);
    expect(hasCode(missing, 'NotFound')).toBe(true);
    const request = { chain: chain.backups, path: at('config'), directory: chain.root };
    const extract = chain.engine.contents!.extract(request, combinedSource(chain.volumes), testContext());
    expect(hasCode(await extract.catch((error: unknown) => error), 'TargetNotEmpty')).toBe(true);
  });
});

test('a file that is listed and in no volume is missed', async () => {
  const chain = new Chain();
  fs.writeFileSync(path.join(chain.root, 'a'), 'a');
  const { backupId } = await chain.back('full');
  const { backupId: newest } = await chain.back('incr');
  const volumes = chain.volumes.get(backupId) as MemoryVolumes;
  const listing = volumes.contents.get('listing.jsonl')!.toString();
  const more = listing
    .split('\n')
    .find((line) => line.includes('/a"'))!
    .replace('/a"', '/b"');
  const stream = new MemoryVolumes();
  await pipeline([listing, `${more}\n`], stream.volume('listing.jsonl'));
  volumes.contents.set('listing.jsonl', stream.contents.get('listing.jsonl')!);
  const contentSha256 = stream.digests.get('listing.jsonl')!;
  const [full, ...others] = chain.backups as [Manifest, ...Manifest[]];
  const artifacts = full.artifacts.map((each) => (each.name === 'listing.jsonl' ? { ...each, contentSha256 } : each));
  chain.backups.splice(0, 2, { ...full, artifacts }, ...others);
  const refused = await chain.restore(newest).catch((error: unknown) => error);
  expect((refused as Error).message).toContain('are in none of the volumes: 1');
  expect(hasCode(refused, 'BackupCorrupt')).toBe(true);
});

describe('a full is taken instead', () => {
  test('of an incremental without a parent, of another host, of older listings, behind enough others', async () => {
    const chain = new Chain({ maximumIncrements: 1 });
    fs.writeFileSync(path.join(chain.root, 'a'), 'a');
    const reasonOn = async (existing: readonly Manifest[]) => {
      const request = { backupId: '20261122T020000Z-incr-1a2b3c4d', type: 'incr', site: 'primary', existing } as const;
      const plan = await chain.engine.planDump(request, testContext());
      expect(plan.backupId).toContain(`-${plan.type}-`);
      return plan.typeReason;
    };
    expect(await reasonOn([])).toContain('there is no backup');
    const full = await chain.back('full');
    expect(await reasonOn([full])).toBeNull();
    expect(await reasonOn([{ ...full, source: { ...full.source, member: 'other' } }])).toContain('is of other');
    expect(await reasonOn([{ ...full, detail: { roots: [chain.root] } }])).toContain('does not say how its files were');
    const incremental = await chain.back('incr');
    expect(await reasonOn([full, incremental])).toContain('maximumIncrements is 1');
    expect(await reasonOn([incremental])).toContain('missing');
  });

  test('where the listing of the parent is damaged', async () => {
    const chain = new Chain();
    fs.writeFileSync(path.join(chain.root, 'a'), 'a');
    const { backupId } = await chain.back('full');
    const contents = chain.contentsOf(backupId);
    const listing = contents.get('listing.jsonl') as Buffer;
    contents.set('listing.jsonl', Buffer.concat([listing, listing]));
    const refused = await chain.back('incr').catch((error: unknown) => error);
    expect(hasCode(refused, 'IncrementalRefused')).toBe(true);
  });
});
