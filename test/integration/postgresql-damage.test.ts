import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { withRestored } from '../../adapters/engines/postgresql/restored-server';
import { createLocalRepository } from '../../adapters/repository/local';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import { type BackupType, chainOf, type Manifest } from '../../core/catalog';
import { backupIdOf } from '../../core/layout';
import { planAroundDamage } from '../../core/plan-around-damage';
import { Secret } from '../../core/secret';
import { keyFileOf, openEncryption, rsaKeyPair, startEncryption } from '../support/data-keys';
import { isRoot, serverFile, serverFolder } from '../../lab/servers/process';
import { engineOf, testContext } from '../support/engine-harness';
import { ask } from '../support/postgresql-source';
import { countOf, seededRandom } from '../support/random';
import { postgresTool, postgresVersions, startPostgres } from '../support/servers';

const random = seededRandom('postgresql-damage');
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-damage-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

type Server = Awaited<ReturnType<typeof startPostgres>>;

/** A cluster's backups and log in a repository of files, written as the activities do. */
async function storeOf(server: Server, folder: string, programs?: string) {
  const engine = await engineOf('postgresql', 'orders', {
    sites: { primary: { host: server.host, port: server.port, password: new Secret(server.password) } },
    toolsDirectory: programs ?? path.dirname(postgresTool('postgres')),
  });
  const repository = createLocalRepository({ name: 'local', directory: path.join(folder, 'repository'), prefix: 'x' });
  const codec = { codec: 'zstd', level: 1 } as const;
  const spool = createSpool({ directory: path.join(folder, 'spool'), application: 'shop', codec, reserveBytes: 0 });
  const recipients = { worker: keyFileOf(rsaKeyPair()) };
  let keyId: string | null = null;
  /** From here on; what was stored before stays as it is. */
  const encrypt = async () => void ({ keyId } = await startEncryption([repository], recipients));
  /** As a worker that was just started has them: nothing is remembered of what was read before. */
  const open = () => {
    const catalog = createCatalog(repository);
    const cipher = keyId === null ? null : openEncryption([repository], recipients, keyId).cipher;
    const transfer = createTransfer({ repository, catalog, spool, codec, cipher, targetVolumeBytes: 8 * 2 ** 20 });
    return { catalog, transfer, log: createLogArchive(repository, 'orders', engine.log!.naming, cipher) };
  };
  const refOf = ({ backupId, type }: Pick<Manifest, 'backupId' | 'type'>) => {
    return { store: 'orders', backupId, kind: engine.artifactKind(type), attempt: 1 };
  };

  async function archive(): Promise<void> {
    const [at] = await ask(server.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
    for (const deadline = Date.now() + 60_000; ;) {
      const request = { site: 'primary', runForMilliseconds: 300, sliceMilliseconds: 100 };
      const { durable } = await engine.log!.archive(request, open().log, () => undefined, testContext());
      if (parseLsn(durable.value) >= parseLsn(at!['lsn'] as string)) return;
      if (Date.now() > deadline) throw new Error(`archived only to ${durable.value}`);
    }
  }

  async function back(type: BackupType): Promise<Manifest> {
    const { catalog, transfer } = open();
    const existing = await catalog.list('orders');
    const request = { backupId: backupIdOf(new Date().toISOString(), type, randomBytes(4).toString('hex')), type };
    const plan = await engine.planDump({ ...request, site: 'primary', existing }, testContext());
    if (plan.type !== type) throw new Error(`${type} asked: ${plan.typeReason}`);
    const attempt = await transfer.beginStream(refOf(plan), testContext());
    const built = existing.find((each) => each.backupId === plan.parent);
    const on = built ? { chain: chainOf(built, existing)!, source: transfer.source(existing) } : null;
    await attempt.finish(await engine.dump(plan, on, attempt.sink, testContext()));
    const { dump, artifacts, early } = await transfer.stored(refOf(plan));
    const { backupId, parent, typeReason } = plan;
    const what = { backupId, application: 'shop', store: 'orders', engine: engine.kind, type, parent, typeReason };
    const run = { committedAt: new Date().toISOString(), attempt: 1, workflowId: 'test', runId: 'test' };
    return catalog.commit({ ...dump, formatVersion: 1, ...what, ...run, artifacts, early });
  }

  return { engine, repository, encrypt, open, refOf, archive, back };
}

async function promote(server: Server): Promise<void> {
  await server.server.stop();
  serverFile(path.join(server.dataDir, 'standby.signal'), '');
  await server.server.start();
  await ask(server.url, 'SELECT pg_promote(true, 30)');
}

describe.each(postgresVersions)('PostgreSQL $version', ({ programs, version }) => {
  test(`a byte that is flipped anywhere is found and named by the restore (seed ${random.seed})`, async () => {
    const folder = path.join(root, String(version));
    const server = await startPostgres({ programs });
    const space = serverFolder(fs.mkdtempSync(path.join(root, 'space-')));
    await ask(server.url, `CREATE TABLESPACE other LOCATION '${space}'`);
    await ask(server.url, 'CREATE TABLE notes (id int, body text) TABLESPACE other');
    const add = (rows: number) =>
      ask(server.url, `INSERT INTO notes SELECT g, md5(g::text) FROM generate_series(1, ${rows}) g`);
    const { engine, repository, encrypt, open, refOf, archive, back } = await storeOf(server, folder, programs);
    await archive();
    await add(20_000);
    const chain = [await back('full')];
    await add(5_000);
    // A chain and a log that begin plain and go on encrypted.
    if (version === 18) await encrypt();
    if (version === 18) chain.push(await back('incr'));
    await archive();
    await promote(server);
    for (let segment = 0; segment < 2; segment += 1) {
      await add(5_000);
      await ask(server.url, 'SELECT pg_switch_wal()');
    }
    await archive();
    await add(1_000);
    await archive();
    const rows = Number((await ask(server.url, 'SELECT count(*) FROM notes'))[0]!['count']);
    await server.stop();

    /** What drctl does with the repository: verifies what was stored, and restores; `until` the step that is looked at. */
    const place = { directory: path.join(root, `place-${version}`), host: '127.22.0.6', port: 0, overwrite: false };
    const plan = await planAroundDamage(engine, { kind: 'latest' }, open(), testContext());
    expect(plan).toMatchObject({
      chain: chain.map(({ backupId }) => backupId),
      lineage: expect.stringMatching(/\/2$/),
    });
    const request = { restoreId: 'damage', plan, chain, place: { ...place, osUser: isRoot ? 'nobody' : null } };
    const steps = {
      verify: async () => {
        for (const each of chain)
          await open().transfer.verify(await open().transfer.stored(refOf(each)), testContext());
      },
      plan: async () => {
        const { notes } = await planAroundDamage(engine, { kind: 'latest' }, open(), testContext());
        if (notes.some((note) => note.includes('left out'))) throw new Error(notes.join('; '));
      },
      rebuild: async () => {
        const other = { ...request, place: { ...request.place, directory: path.join(root, `damaged-${version}`) } };
        try {
          await engine.restore.rebuild(other, open().transfer.source(chain), open().log, testContext());
        } finally {
          await engine.restore.discard(other.place, testContext());
        }
      },
      replay: async () => {
        fs.rmSync(pathsOf(place.directory).wal, { recursive: true, force: true });
        await engine.restore.replay(request, open().log, testContext());
      },
    };
    await engine.restore.rebuild(request, open().transfer.source(chain), open().log, testContext());

    const isEncrypted = chain.map(({ artifacts }) =>
      artifacts.every(({ encryptionKeyId }) => encryptionKeyId !== null),
    );
    expect(isEncrypted).toEqual([false, true].slice(0, chain.length));

    const timelines = (await open().log.lineages()).map((each) => open().log.entries(each));
    const needed = (await Promise.all(timelines)).flat().filter(({ lineage, to }) => {
      return !lineage.endsWith('/1') || parseLsn(to.value) > parseLsn(plan.log!.from.value);
    });
    const ofKind = (kind: string) => needed.filter((each) => each.kind === kind && each.lineage.endsWith('/2'));
    const [full, incremental] = chain.map(({ artifacts }) => artifacts.filter(({ name }) => name.startsWith('vol-')));
    const inSpace = chain.flatMap(({ artifacts }) => artifacts.filter(({ name }) => !name.startsWith('vol-')));
    const history: string[] = [];
    for await (const { key } of repository.list('catalog/orders/history/')) history.push(key);
    const classes: [string, keyof typeof steps | 'rebuild or verify', readonly string[]][] = [
      ['a volume of the full', 'rebuild or verify', full!.map(({ key }) => key)],
      ['a volume of the incremental', 'rebuild or verify', (incremental ?? []).map(({ key }) => key)],
      ['a volume of a tablespace', 'rebuild or verify', inSpace.map(({ key }) => key)],
      ['backup_manifest', 'rebuild or verify', chain.flatMap(({ early }) => early.map(({ key }) => key))],
      ['a segment', 'replay', ofKind('segment').map(({ key }) => key)],
      ['a slice', 'replay', ofKind('slice').map(({ key }) => key)],
      ['a timeline history', 'plan', history.filter((key) => key.endsWith('.history'))],
      ['a manifest', 'plan', chain.map(({ backupId }) => `catalog/orders/${backupId}.json`)],
      [
        'artifacts.json',
        'verify',
        chain.map(({ backupId, type }) => `data/${type}/orders/${backupId}/attempt-1/artifacts.json`),
      ],
    ];
    const dataKeys: string[] = [];
    for await (const { key } of repository.list('keys/')) dataKeys.push(key);
    classes.push(['the data key', 'rebuild', dataKeys]);
    const possible = classes.filter(([, , keys]) => keys.length > 0);
    expect(possible).toHaveLength(version === 18 ? 10 : 8);
    const more = Array.from({ length: countOf('ROUNDS', 1) }, () => random.pick(possible));
    for (const [what, step, keys] of [...possible, ...more]) {
      const key = random.pick(keys);
      await flipped(path.join(repository.location, key), async (where) => {
        for (const each of step === 'rebuild or verify' ? (['verify', 'rebuild'] as const) : [step]) {
          const said = await steps[each]().then(
            () => 'nothing',
            (error: Error) => error.message,
          );
          expect({ what, where, step: each, said }).toMatchObject({ said: expect.stringContaining(key) });
        }
      });
    }

    for (const step of ['verify', 'plan', 'replay'] as const) await steps[step]();
    const marker = (await readMarker(place.directory))!;
    const found = await withRestored(pathsOf(place.directory), marker, async (db) => {
      return Number((await db.query('SELECT count(*) FROM notes')).rows[0].count);
    });
    expect(found).toBe(rows);
    await engine.restore.discard(request.place, testContext());
  }, 180_000);
});

async function flipped(file: string, use: (where: string) => Promise<void>): Promise<void> {
  const content = fs.readFileSync(file);
  const [at, bit] = [random.integer(content.length), random.integer(8)];
  const damaged = Buffer.from(content);
  damaged[at] = (damaged[at] as number) ^ (1 << bit);
  fs.writeFileSync(file, damaged);
  await use(`${file}: bit ${bit} of byte ${at}`);
  fs.writeFileSync(file, content);
}
