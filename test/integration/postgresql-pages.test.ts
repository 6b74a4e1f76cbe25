import * as fs from 'node:fs';
import * as path from 'node:path';
import { damagedPages, readRelationPath } from '../../adapters/engines/postgresql/damaged-pages';
import { findFailure } from '../../core/errors';
import { runToEnd } from '../../lab/servers/process';
import { testContext } from '../support/engine-harness';
import { ask, PostgresSource } from '../support/postgresql-source';
import { postgresTool, postgresVersions, startPostgres } from '../support/servers';

const PAGE_BYTES = 8_192;

test('paths of the data directory are read, whatever the tablespace, the fork and the size', () => {
  expect(readRelationPath('base/5/16384')).toEqual({
    databaseOid: 5,
    tablespaceOid: 1663,
    filenode: 16384,
    fork: 'main',
    segment: 0,
  });
  expect(readRelationPath('global/1262_fsm')).toMatchObject({ databaseOid: 0, tablespaceOid: 1664, fork: 'fsm' });
  expect(readRelationPath('pg_tblspc/16400/PG_18_202506291/5/16390_vm.2')).toMatchObject({
    databaseOid: 5,
    tablespaceOid: 16400,
    filenode: 16390,
    fork: 'vm',
    segment: 2,
  });
  expect(readRelationPath('pg_xact/0000')).toBeNull();
  const warning = 'checksum verification failed in file "./base/5/16384", block 3: calculated AB12 but expected 0';
  expect(damagedPages([warning, 'something else'])).toEqual([{ file: 'base/5/16384', block: 3 }]);
});

describe.each(postgresVersions)('PostgreSQL $version', ({ programs }) => {
  test('a damaged page is named by relation and block: of a table, its TOAST, its index, one in a tablespace', async () => {
    const server = await startPostgres({ programs });
    const shop = server.url.replace(/postgres$/, 'shop');
    await ask(server.url, 'CREATE DATABASE shop');
    const space = path.join(path.dirname(server.dataDir), `${path.basename(server.dataDir)}-space`);
    fs.mkdirSync(space);
    fs.chownSync(space, fs.statSync(server.dataDir).uid, fs.statSync(server.dataDir).gid);
    await ask(server.url, `CREATE TABLESPACE fast LOCATION '${space}'`);
    await ask(shop, 'CREATE SCHEMA sales');
    await ask(
      shop,
      `CREATE TABLE sales."Orders" AS SELECT g AS id, md5(g::text) AS body, ''::text AS note FROM generate_series(1, 5000) g`,
    );
    await ask(shop, 'ALTER TABLE sales."Orders" ALTER note SET STORAGE EXTERNAL');
    await ask(shop, `INSERT INTO sales."Orders" VALUES (0, 'long', repeat('x', 100000))`);
    await ask(shop, 'CREATE INDEX by_body ON sales."Orders" (body)');
    await ask(shop, 'CREATE TABLE elsewhere TABLESPACE fast AS SELECT g AS id FROM generate_series(1, 5000) g');
    const pathOf = async (relation: string) =>
      (await ask(shop, 'SELECT pg_relation_filepath($1::regclass) AS file', [relation]))[0]!['file'] as string;
    const toast = (
      await ask(
        shop,
        `SELECT reltoastrelid::regclass::text AS name FROM pg_class WHERE oid = 'sales."Orders"'::regclass`,
      )
    )[0]!['name'] as string;
    const damaged = [
      { file: await pathOf('sales."Orders"'), block: 3, named: 'shop.sales."Orders"' },
      { file: await pathOf(toast), block: 1, named: `shop.${toast} (TOAST of sales."Orders")` },
      { file: await pathOf('sales.by_body'), block: 2, named: 'shop.sales.by_body (index of sales."Orders")' },
      { file: await pathOf('elsewhere'), block: 4, named: 'shop.public.elsewhere' },
    ];
    await ask(shop, 'CHECKPOINT');
    await server.server.stop();
    for (const { file, block } of damaged) {
      const handle = fs.openSync(path.join(server.dataDir, file), 'r+');
      fs.writeSync(handle, 'not what was written here', PAGE_BYTES * block + 4_000);
      fs.closeSync(handle);
    }
    await server.server.start();
    const source = await PostgresSource.of({ primary: server });
    const error = await source.back().then(
      () => null,
      (thrown: unknown) => findFailure(thrown),
    );
    expect(error?.code).toBe('BackupCorrupt');
    for (const { file, block, named } of damaged)
      expect(error!.message).toContain(`block ${block} of ${named} (${file})`);
    expect(error!.details.context).toMatchObject({ pages: damaged.length });
    await server.stop();
  }, 90_000);

  test('a server without data checksums is told of: in the manifest, and before', async () => {
    const server = await startPostgres({ programs });
    await server.server.stop();
    await runToEnd({
      argv: [postgresTool('pg_checksums', programs), '--disable', '-D', server.dataDir],
      cwd: path.dirname(server.dataDir),
      unprivileged: true,
    });
    await server.server.start();
    const source = await PostgresSource.of({ primary: server });
    expect((await source.engine.probe('primary', testContext())).problems.join()).toMatch(/data_checksums is off/);
    const manifest = await source.back();
    expect(manifest.warnings).toEqual([expect.stringContaining('data_checksums is off')]);
    expect(manifest.detail['dataChecksums']).toBe('off');
    await server.stop();
  }, 60_000);
});
