import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Client } from 'pg';
import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { withRestored } from '../../adapters/engines/postgresql/restored-server';
import { createLocalRepository } from '../../adapters/repository/local';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createVolumeSource } from '../../adapters/volumes/source';
import { FRAME_BYTES, zstdFrame } from '../../adapters/volumes/zstd-frames';
import type { Artifact, Manifest } from '../../core/catalog';
import { Secret } from '../../core/secret';
import { isRoot } from '../../lab/servers/process';
import { engineOf, type MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { rounds, seededRandom } from '../support/random';
import { postgresTool, startPostgres } from '../support/servers';

const random = seededRandom('postgresql-damage');
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-damage-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A backup as a repository holds it: compressed in frames, with the digests of what is stored. */
async function stored(
  manifest: Manifest,
  volumes: MemoryVolumes,
  repository: ReturnType<typeof createLocalRepository>,
) {
  const artifacts: Artifact[] = [];
  for (const artifact of manifest.artifacts) {
    const content = volumes.contents.get(artifact.name)!;
    const frames: Buffer[] = [];
    for (let at = 0; at < content.length; at += FRAME_BYTES) {
      frames.push(await zstdFrame(content.subarray(at, at + FRAME_BYTES), { level: 1 }));
    }
    const [bytes, key] = [Buffer.concat(frames), `data/${artifact.name}.zst`];
    await repository.put(key, bytes);
    artifacts.push({ ...artifact, key, sizeBytes: bytes.length, sha256: sha256(bytes), codec: 'zstd' });
  }
  for (const { name, key } of manifest.early) await repository.put(key, volumes.earlyFiles.get(name)!);
  return { ...manifest, artifacts };
}

test(`a byte that is flipped anywhere is found and named by the restore (seed ${random.seed})`, async () => {
  const server = await startPostgres();
  const client = new Client(server.url);
  client.on('error', () => undefined); // the server ends before its client where a test fails
  await client.connect();
  await client.query(`CREATE TABLE notes AS SELECT g AS id, md5(g::text) AS body FROM generate_series(1, 50000) g`);
  const engine = await engineOf('postgresql', 'orders', {
    sites: { primary: { host: server.host, port: server.port, password: new Secret(server.password) } },
    toolsDirectory: path.dirname(postgresTool('postgres')),
  });
  const directory = path.join(root, 'repository');
  const repository = createLocalRepository({ name: 'local', directory, prefix: 'test' });
  const log = createLogArchive(repository, 'orders', engine.log!.naming);
  const archive = async () => {
    const request = { site: 'primary', runForMilliseconds: 1_500, sliceMilliseconds: 200 };
    await engine.log!.archive(request, log, () => undefined, testContext());
  };
  await archive();
  const volumes = new Map<string, MemoryVolumes>();
  const taken = await takeBackup(engine, 'primary', volumes, [], { targetVolumeBytes: 4 * 2 ** 20 });
  const manifest = await stored(taken.manifest, volumes.get(taken.manifest.backupId)!, repository);
  for (let switched = 0; switched < 3; switched += 1) {
    await client.query(`INSERT INTO notes SELECT g, md5(g::text) FROM generate_series(1, 20000) g`);
    await client.query('SELECT pg_switch_wal()');
  }
  await archive();
  const rows = Number((await client.query('SELECT count(*) FROM notes')).rows[0].count);
  await client.end();
  await server.stop();

  const target = { kind: 'latest' } as const;
  const plan = await engine.planRestore(target, { backups: [manifest], log }, testContext());
  const place = { directory: path.join(root, 'place'), host: '127.22.0.6', port: 0, osUser: isRoot ? 'nobody' : null };
  const request = { restoreId: 'damage', plan, chain: [manifest], place: { ...place, overwrite: false } };
  const source = createVolumeSource(repository, [manifest]);
  const files = fs.readdirSync(directory, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  const fileOf = (key: string) =>
    files.map(({ parentPath, name }) => path.join(parentPath, name)).find((file) => file.endsWith(`/${key}`))!;

  const keys = [...manifest.artifacts, ...manifest.early].map(({ key }) => key);
  for (const round of rounds(8)) {
    const key = round === 0 ? manifest.early[0]!.key : random.pick(keys);
    await flipped(fileOf(key), async (where) => {
      const refused = await engine.restore.rebuild(request, source, log, testContext()).then(
        () => null,
        (error: Error) => error,
      );
      expect({ where, refused }).toMatchObject({ refused: { type: 'BackupCorrupt' } });
      expect({ where, said: refused!.message }).toMatchObject({ said: expect.stringContaining(key) });
    });
  }
  await engine.restore.rebuild(request, source, log, testContext());

  const first = parseLsn(plan.log!.from.value);
  const entries = (await log.entries(plan.lineage!)).filter((each) => parseLsn(each.to.value) > first);
  for (const { key } of rounds(3).map(() => random.pick(entries))) {
    await flipped(fileOf(key), async (where) => {
      const refused = await engine.restore.replay(request, log, testContext()).then(
        () => null,
        (error: Error) => error,
      );
      expect({ where, said: refused?.message }).toMatchObject({ said: expect.stringContaining(key) });
    });
    // What was fetched before the damage is right, and would not be read again.
    fs.rmSync(pathsOf(place.directory).wal, { recursive: true });
  }
  const restored = await engine.restore.replay(request, log, testContext());
  const marker = (await readMarker(restored.directory))!;
  const found = await withRestored(pathsOf(restored.directory), marker, async (db) => {
    return Number((await db.query('SELECT count(*) FROM notes')).rows[0].count);
  });
  expect(found).toBe(rows);
  await engine.restore.discard(request.place, testContext());
}, 180_000);

async function flipped(file: string, use: (where: string) => Promise<void>): Promise<void> {
  const content = fs.readFileSync(file);
  const [at, bit] = [random.integer(content.length), random.integer(8)];
  const damaged = Buffer.from(content);
  damaged[at] = (damaged[at] as number) ^ (1 << bit);
  fs.writeFileSync(file, damaged);
  await use(`${file}: bit ${bit} of byte ${at}`);
  fs.writeFileSync(file, content);
}
