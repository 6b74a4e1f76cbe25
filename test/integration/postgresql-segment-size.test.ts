import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { compareFingerprints } from '../../core/recovery';
import { testContext } from '../support/engine-harness';
import { ask, PostgresSource } from '../support/postgresql-source';
import { postgresTool, postgresVersionsInDepth, startPostgres } from '../support/servers';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-segsize-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

test.each(postgresVersionsInDepth)(
  'PostgreSQL $version: segments of 64 MB are archived, take the place of their slices and are restored',
  async ({ programs }) => {
    const server = await startPostgres({ segmentMebibytes: 64, programs });
    try {
      const source = await PostgresSource.of(
        { primary: server },
        { toolsDirectory: path.dirname(postgresTool('postgres', programs)) },
      );
      const repository = createRepository(
        'local',
        { kind: 'local', directory: path.join(root, 'repository'), prefix: '' },
        'shop',
      );
      const open = () => createLogArchive(repository, 'orders', source.engine.log!.naming);
      const log = open();
      await ask(server.url, 'CREATE TABLE t AS SELECT g AS id, md5(g::text) AS body FROM generate_series(1, 5000) g');
      await source.archiveAll(server.url, 'primary', log);
      const { lineage } = await source.back();
      await ask(server.url, 'UPDATE t SET body = md5(body)');
      await source.archiveAll(server.url, 'primary', log);
      await ask(server.url, 'SELECT pg_switch_wal()');
      await ask(server.url, 'DELETE FROM t WHERE id % 7 = 0');
      await ask(server.url, "SELECT pg_create_restore_point('one in seven gone')");
      await source.archiveAll(server.url, 'primary', log);
      const expected = await source.engine.fingerprint({ site: 'primary' }, testContext());
      const entries = await open().entries(lineage!);
      expect(entries.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['segment', 'slice']));
      expect(entries.every(({ name }) => name.includes('.s64'))).toBe(true);
      const target = { kind: 'name', name: 'one in seven gone' } as const;
      const { request, restored } = await source.restore(target, path.join(root, 'copy'), open());
      expect(compareFingerprints(expected, await source.engine.fingerprint(restored, testContext()))).toEqual([]);
      await source.engine.restore.discard(request.place, testContext());
    } finally {
      await server.stop();
    }
  },
  90_000,
);
