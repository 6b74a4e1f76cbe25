import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { serverOf, withRestored } from '../../adapters/engines/postgresql/restored-server';
import type { LogArchive } from '../../core/log-archive';
import { Secret } from '../../core/secret';
import { isRoot } from '../../lab/servers/process';
import { openPostgres } from '../../lab/servers/postgresql-client';
import {
  combinedSource,
  engineOf,
  MemoryLogArchive,
  type MemoryVolumes,
  takeBackup,
  testContext,
} from '../support/engine-harness';
import { rounds, seededRandom } from '../support/random';
import { postgresTool, postgresVersions, startPostgres, waitUntil } from '../support/servers';

const SEGMENTS = 12;
const ROUNDS = rounds(2);
const random = seededRandom('postgresql-replay');
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-replay-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

async function digest(client: Client): Promise<unknown> {
  const { rows } = await client.query("SELECT count(*), md5(string_agg(n::text, ',' ORDER BY id)) FROM notes n");
  return rows[0];
}

describe.each(postgresVersions)('replay on PostgreSQL $version', ({ version, programs }) => {
  test(
    `a worker that dies in the middle leaves the server waiting, and the next one goes on (seed ${random.seed})`,
    async () => {
      const server = await startPostgres({ programs });
      const client = await openPostgres(server.url);
      await client.query('CREATE TABLE notes (id int, body text)');
      const engine = await engineOf('postgresql', 'orders', {
        sites: { primary: { host: server.host, port: server.port, password: new Secret(server.password) } },
        toolsDirectory: programs ?? path.dirname(postgresTool('postgres')),
      });
      const log = new MemoryLogArchive(engine.log!.naming);
      const archive = async () => {
        const request = { site: 'primary', runForMilliseconds: 2_000, sliceMilliseconds: 200 };
        await engine.log!.archive(request, log, () => undefined, testContext());
      };
      await archive();
      const volumes = new Map<string, MemoryVolumes>();
      const { manifest } = await takeBackup(engine, 'primary', volumes, []);
      for (let segment = 0; segment < SEGMENTS; segment += 1) {
        await client.query(
          `INSERT INTO notes SELECT g, md5((g * ${segment + 1})::text) FROM generate_series(1, 5000) g`,
        );
        await client.query('SELECT pg_switch_wal()');
      }
      const { rows } = await client.query('SELECT pg_current_wal_flush_lsn()::text AS lsn');
      const end = parseLsn((rows[0] as { lsn: string }).lsn);
      await waitUntil('everything being archived', async () => {
        await archive();
        const last = (await log.entries(manifest.lineage!)).at(-1)!;
        return parseLsn(last.to.value) >= end;
      });
      const expected = await digest(client);
      await client.end();
      await server.stop();

      const plan = await engine.planRestore({ kind: 'latest' }, { backups: [manifest], log }, testContext());
      for (const round of ROUNDS) {
        const directory = path.join(root, `place-${version}-${round}`);
        const place = { directory, host: '127.22.0.7', port: 0, osUser: isRoot ? 'nobody' : null, overwrite: false };
        const request = { restoreId: `dies-${round}`, plan, chain: [manifest], place };
        await engine.restore.rebuild(request, combinedSource(volumes), log, testContext());

        const dies = new AbortController();
        const asked = Promise.withResolvers<void>();
        asked.promise.catch(() => undefined); // nobody may have been waiting for it
        let left = 1 + random.integer(SEGMENTS - 2);
        const paths = pathsOf(directory);
        const cutOff = openedBy(log, async () => {
          left -= 1;
          if (left < 0) await asked.promise; // what a dead worker has asked for does not come
        });
        const replaying = engine.restore.replay(request, cutOff, testContext(dies.signal)).then(
          () => null,
          (error: unknown) => error,
        );
        await waitUntil('the server waiting for a segment', async () => fs.existsSync(path.join(paths.wal, 'wanted')));
        dies.abort(new Error('the worker is gone'));
        await sleep(1_000);
        const pid = await serverOf(paths).pid();
        expect(pid).not.toBeNull();
        expect(fs.readFileSync(paths.log, 'utf8')).not.toMatch(
          /recovery ended|archive recovery complete|shutting down/,
        );

        const restored = await engine.restore.replay(request, log, testContext());
        expect(await serverOf(paths).pid()).toBe(pid); // it was waited for, not begun again
        const marker = (await readMarker(restored.directory))!;
        expect(await withRestored(paths, marker, digest)).toEqual(expected);
        asked.reject(new Error('nobody waits any more'));
        // The reason where it was met between two steps, an AbortError out of one.
        expect(String(await replaying)).toMatch(/AbortError|the worker is gone/);
        await engine.restore.open(request, testContext());
        await engine.restore.discard(place, testContext());
      }
    },
    60_000 * ROUNDS.length,
  );
});

function openedBy(log: LogArchive, before: () => Promise<void>): LogArchive {
  return {
    append: (piece) => log.append(piece),
    entries: (lineage) => log.entries(lineage),
    lineages: () => log.lineages(),
    resolve: (entry) => log.resolve(entry),
    prove: (entry) => log.prove(entry),
    replaced: (lineage) => log.replaced(lineage),
    replace: (slices, segment) => log.replace(slices, segment),
    putHistory: (name, bytes) => log.putHistory(name, bytes),
    history: () => log.history(),
    open: async (entry) => {
      await before();
      return log.open(entry);
    },
    lend: async (entry, use) => {
      await before();
      return log.lend(entry, use);
    },
  };
}
