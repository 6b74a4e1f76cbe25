import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { createFilesEngine } from '../../adapters/engines/files/engine';
import { settings } from '../../adapters/engines/files/settings';
import { createArchive } from '../../adapters/engines/files/tar-process';
import type { Manifest } from '../../core/catalog';
import { hasCode } from '../../core/errors';
import { compareFingerprints } from '../../core/recovery';
import { engineContract, type EngineHarness } from '../contract/engine.contract';
import { engineFaults } from '../contract/engine-faults.contract';
import { combinedSource, engineOf, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { describeTree, makeRandomTree } from '../support/random-tree';
import { seededNumbers, seedsOfRounds } from '../support/random';

const folders: string[] = [];
function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-files-'));
  folders.push(made);
  return made;
}
afterAll(() => folders.forEach((each) => fs.rmSync(each, { recursive: true, force: true })));

function engineFor(roots: readonly string[], extra: Record<string, unknown> = {}) {
  return createFilesEngine({
    store: 'application',
    settings: settings.parse({
      sites: { primary: { roots }, dead: { roots: ['/nonexistent/application'] } },
      ...extra,
    }),
  });
}

async function restoreOf(
  engine: ReturnType<typeof engineFor>,
  manifest: Manifest,
  volumes: Map<string, MemoryVolumes>,
) {
  const target = { kind: 'backup', backupId: manifest.backupId } as const;
  const plan = await engine.planRestore(target, { backups: [manifest], log: null }, testContext());
  const place = {
    directory: path.join(folder(), 'place'),
    host: '127.24.0.9',
    port: 0,
    osUser: null,
    overwrite: false,
  };
  const request = { restoreId: 'restore', plan, chain: [manifest], place };
  await engine.restore.rebuild(request, combinedSource(volumes), null, testContext());
  await engine.restore.replay(request, null, testContext());
  return engine.restore.open(request, testContext());
}

async function startHarness(): Promise<EngineHarness> {
  const root = folder();
  makeRandomTree(root, seededNumbers(3), 60);
  let changes = 0;
  return {
    engine: await engineOf('files', 'application', {
      sites: { primary: { roots: [root] }, dead: { roots: ['/nonexistent/application'] } },
    }),
    site: 'primary',
    deadSite: 'dead',
    silence: null,
    standbySite: null,
    leftByArchiver: null,
    change: async () => fs.writeFileSync(path.join(root, `change-${changes}`), `${changes++}`),
    place: async () => ({
      directory: path.join(folder(), 'place'),
      host: '127.24.0.9',
      port: 0,
      osUser: null,
      overwrite: false,
    }),
    stop: async () => undefined,
  };
}

engineContract('files', startHarness, null);
engineFaults('files', startHarness);

describe('a random tree is restored as it was', () => {
  test.each(seedsOfRounds(3))(
    'seed %i',
    async (seed) => {
      const root = folder();
      makeRandomTree(root, seededNumbers(seed), 250);
      const model = describeTree(root);
      const engine = engineFor([root]);
      const volumes = new Map<string, MemoryVolumes>();
      // Small volumes, so that the tree is cut into many.
      const { manifest } = await takeBackup(engine, 'primary', volumes, [], { targetVolumeBytes: 100_000 });
      expect(manifest.artifacts.length).toBeGreaterThan(4);
      expect(manifest.warnings).toEqual([]);
      const restored = await restoreOf(engine, manifest, volumes);
      expect(describeTree(restored.directory + root)).toEqual(model);
      const [live, copy] = [
        await engine.fingerprint({ site: 'primary' }, testContext()),
        await engine.fingerprint(restored, testContext()),
      ];
      expect(compareFingerprints(live, copy)).toEqual([]);
      expect(live.items[0]?.count).toBe(model.length);
    },
    60_000,
  );
});

test('sparse files stay sparse, and extended attributes come back', async () => {
  const root = folder();
  const sparse = path.join(root, 'sparse');
  fs.writeFileSync(sparse, '');
  fs.truncateSync(sparse, 1024 ** 3);
  const attribute = (file: string) => [
    '-c',
    'import os,sys;print(os.getxattr(sys.argv[1],"user.note").decode())',
    file,
  ];
  execFileSync('python3', ['-c', 'import os,sys;os.setxattr(sys.argv[1],"user.note",b"kept\\n\\xff"[:5])', sparse]);
  const engine = engineFor([root]);
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  const restored = (await restoreOf(engine, manifest, volumes)).directory + sparse;
  expect(fs.statSync(restored).size).toBe(1024 ** 3);
  expect(fs.statSync(restored).blocks).toBeLessThan(1_000);
  expect(execFileSync('python3', attribute(restored)).toString()).toBe('kept\n\n');
});

test('excludes of the strategy, missing roots, roots inside others and links to roots', async () => {
  const base = folder();
  const root = path.join(base, 'ultramarket');
  for (const each of ['node_modules/left', 'src/node_modules/left', 'logs', 'tmp', 'public']) {
    fs.mkdirSync(path.join(root, each), { recursive: true });
    fs.writeFileSync(path.join(root, each, 'file'), each);
  }
  fs.symlinkSync(root, path.join(base, 'link'));
  const excludes = ['*/node_modules/*', '*/logs/*', '*/tmp/*'];
  const roots = [path.join(base, 'link'), root, path.join(root, 'public'), '/nonexistent/etc'];
  const engine = engineFor(roots, { excludes });
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engine, 'primary', volumes, [], { type: 'incr' });
  expect(manifest.typeReason).toContain('incremental');
  expect(manifest.warnings.join()).toContain('/nonexistent/etc does not exist');
  expect(manifest.warnings.join()).toContain('is a link');
  expect(manifest.detail['roots']).toEqual([root]);
  const listing = volumes.get(manifest.backupId)?.contents.get('listing.jsonl')?.toString() ?? '';
  const listed = listing
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { path: string }).path);
  const expected = ['', '/node_modules', '/src', '/src/node_modules', '/logs', '/tmp', '/public', '/public/file'];
  expect(listed.toSorted()).toEqual(expected.map((each) => root + each).toSorted());
  const restored = await restoreOf(engine, manifest, volumes);
  const live = await engine.fingerprint({ site: 'primary' }, testContext());
  expect(compareFingerprints(live, await engine.fingerprint(restored, testContext()))).toEqual([]);
});

test('a file that changes while it is read is read again, and what was torn is said', async () => {
  const root = folder();
  const growing = path.join(root, 'growing');
  fs.writeFileSync(growing, Buffer.alloc(48 * 1024 * 1024, 1));
  fs.linkSync(growing, path.join(root, 'same'));
  const engine = engineFor([root]);
  const volumes = new Map<string, MemoryVolumes>();
  const writer = setInterval(() => fs.appendFileSync(growing, 'more'), 2);
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  clearInterval(writer);
  expect(manifest.detail['retriedVolume']).toMatch(/^vol-\d+\.tar$/);
  expect(manifest.warnings.join()).toContain('changed again');
  const restored = (await restoreOf(engine, manifest, volumes)).directory + root;
  expect(fs.statSync(path.join(restored, 'growing')).ino).toBe(fs.statSync(path.join(restored, 'same')).ino);
});

test('a directory that is replaced by a link behind the walk is not followed', async () => {
  const root = folder();
  const [inside, outside] = [path.join(root, 'inside'), folder()];
  fs.mkdirSync(inside);
  for (const each of [inside, outside, root]) fs.writeFileSync(path.join(each, 'file'), `of ${each}`);
  const engine = engineFor([root]);
  /** The walk ended when the only volume of files is opened, and its tar begins behind that. */
  const swapping: typeof engine = {
    ...engine,
    dump: (plan, parent, sink, ctx) =>
      engine.dump(
        plan,
        parent,
        {
          targetVolumeBytes: sink.targetVolumeBytes,
          early: (name, bytes) => sink.early(name, bytes),
          volume: (name) => {
            if (name === 'vol-00001.tar') {
              fs.renameSync(inside, path.join(root, 'moved'));
              fs.symlinkSync(outside, inside);
            }
            return sink.volume(name);
          },
        },
        ctx,
      ),
  };
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(swapping, 'primary', volumes, []);
  expect(manifest.warnings.join()).toContain('inside/file, or a directory above it, was replaced');
  const restored = (await restoreOf(engine, manifest, volumes)).directory + root;
  expect(fs.readFileSync(path.join(restored, 'file'), 'utf8')).toBe(`of ${root}`);
  expect(fs.existsSync(path.join(restored, 'inside/file'))).toBe(false);
  expect(fs.lstatSync(path.join(restored, 'inside'), { throwIfNoEntry: false })?.isSymbolicLink() ?? false).toBe(false);
});

test('what was stored is restored by hand with tar alone', async () => {
  const root = folder();
  makeRandomTree(root, seededNumbers(99), 150);
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engineFor([root]), 'primary', volumes, [], { targetVolumeBytes: 200_000 });
  const place = folder();
  const stored = volumes.get(manifest.backupId)?.contents as Map<string, Buffer>;
  for (const name of [...stored.keys()].filter((each) => each.endsWith('.tar')).toSorted()) {
    execFileSync('tar', ['-xpf', '-', '--numeric-owner', '-C', place], { input: stored.get(name) });
  }
  expect(describeTree(place + root)).toEqual(describeTree(root));
});

test.each(['over', 'inside', 'around'])('a place %s the live tree is refused, also with overwrite', async (where) => {
  const base = folder();
  const root = path.join(base, 'application');
  fs.mkdirSync(root);
  fs.writeFileSync(path.join(root, 'precious'), 'kept');
  fs.symlinkSync(base, path.join(folders[0] as string, `way-${where}`));
  const engine = engineFor([root]);
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  const plan = await engine.planRestore({ kind: 'latest' }, { backups: [manifest], log: null }, testContext());
  const link = path.join(folders[0] as string, `way-${where}`);
  const directory = { over: `${link}/application`, inside: `${link}/application/new/place`, around: link }[
    where
  ] as string;
  const place = { directory, host: '127.24.0.9', port: 0, osUser: null, overwrite: true };
  const request = { restoreId: 'restore', plan, chain: [manifest], place };
  const refused = await engine.restore
    .rebuild(request, combinedSource(volumes), null, testContext())
    .catch((error: unknown) => error);
  expect(hasCode(refused, 'TargetNotEmpty')).toBe(true);
  expect(describeTree(root)).toHaveLength(2);
});

describe('a dump that cannot go on', () => {
  const withTar = async (script: string | null): Promise<unknown> => {
    const root = folder();
    makeRandomTree(root, seededNumbers(5), 80);
    const tools = folder();
    if (script !== null) fs.writeFileSync(path.join(tools, 'tar'), script, { mode: 0o755 });
    const before = process.env['PATH'];
    process.env['PATH'] = script === null ? tools : `${tools}:${before}`;
    try {
      return await takeBackup(engineFor([root]), 'primary', new Map(), []).catch((error: unknown) => error);
    } finally {
      process.env['PATH'] = before;
    }
  };

  test('with more files that change than a person wants to read of forgets none of them', async () => {
    const tools = folder();
    const script = 'cat > /dev/null\nseq 5000 | sed "s/.*/tar: f&: file changed as we read it/" >&2\nexit 1\n';
    fs.writeFileSync(path.join(tools, 'tar'), `#!/bin/sh\n${script}`, { mode: 0o755 });
    const before = process.env['PATH'];
    process.env['PATH'] = `${tools}:${before}`;
    try {
      const signal = new AbortController().signal;
      const { changed, other } = await createArchive([], new PassThrough(), new MemoryVolumes().volume('v'), signal);
      expect(changed.map(String)).toEqual(Array.from({ length: 5_000 }, (_, index) => `f${index + 1}`));
      expect(other).toEqual([]);
    } finally {
      process.env['PATH'] = before;
    }
  });

  test('without tar says so', async () => {
    expect(hasCode(await withTar(null), 'ToolMissing')).toBe(true);
  });

  test('with a tar that fails gives its words', async () => {
    const error = await withTar('#!/bin/sh\necho "tar: the disk is on fire" >&2\nexit 2\n');
    expect(hasCode(error, 'BackupIncomplete')).toBe(true);
    expect((error as Error).message).toContain('the disk is on fire');
  });

  test('with a tar that is killed is incomplete', async () => {
    expect(hasCode(await withTar('#!/bin/sh\nkill -9 $$\n'), 'BackupIncomplete')).toBe(true);
  });

  test('with a sink that fails gives the error of the sink, and soon', async () => {
    const root = folder();
    makeRandomTree(root, seededNumbers(6), 80);
    const engine = engineFor([root]);
    const request = { backupId: 'x', type: 'full', site: 'primary', existing: [] } as const;
    const plan = await engine.planDump(request, testContext());
    for (const failing of ['vol-tree.tar', 'vol-00001.tar', 'listing.jsonl']) {
      const volumes = new MemoryVolumes();
      const sink = {
        targetVolumeBytes: 50_000,
        early: async () => undefined,
        volume: (name: string) =>
          name === failing
            ? new Writable({ write: (_chunk, _encoding, done) => done(new Error(`no space for ${name}`)) })
            : volumes.volume(name),
      };
      const error = await engine.dump(plan, null, sink, testContext()).catch((each: unknown) => each);
      expect(String(error)).toContain(`no space for ${failing}`);
    }
  });
});
