import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { stringify } from 'yaml';
import { createRepository } from '../../adapters/repository';
import type { Manifest } from '../../core/catalog';
import { main } from '../../starters/main';
import { engineOf } from '../support/engine-harness';
import { recordingIo } from '../support/recording-io';
import { storedStore } from '../support/stored-store';

/** Looking into real backups in a real repository, without Temporal. */
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-files-command-'));
const root = path.join(folder, 'tree');
const at = (name: string) => path.join(root, name);
const config = path.join(folder, 'shop.yaml');
const backups: Manifest[] = [];

beforeAll(async () => {
  const sites = { primary: { roots: [root] } };
  const repository = { kind: 'local', directory: path.join(folder, 'repository'), prefix: '' } as const;
  fs.writeFileSync(
    config,
    stringify({
      application: 'shop',
      temporal: { address: '127.0.0.1:1' },
      sites: { primary: {} },
      initialSite: 'primary',
      objectives: { rto: '4h', rpo: '1h', uptimePercent: 99.9, backupSuccessPercent: 99.95 },
      repositories: { local: { kind: 'local', directory: repository.directory } },
      repository: 'local',
      spool: { directory: path.join(folder, 'spool') },
      backup: { mode: 'spool', volumeSize: '128MiB', zstdLevel: 3 },
      restore: { directory: path.join(folder, 'restore'), host: '127.0.0.1' },
      failover: {
        confirm: { probes: 3, interval: '2s' },
        approvers: ['dana'],
        escalateAfter: '10m',
        servicesReadyWithin: '2m',
        dnsWithin: '2m',
      },
      schedules: { runs: {} },
      retention: Object.fromEntries(
        ['databaseFull', 'databaseIncremental', 'transactionLogs', 'files', 'configuration'].map((kind) => [
          kind,
          { local: '7d', cloud: '30d', archive: '1y' },
        ]),
      ),
      monitoring: { backupMaxAge: '25h' },
      stores: {
        application: { engine: 'files', sites },
        keys: { engine: 'redis', sites: { primary: { host: '127.0.0.1' } } },
      },
    }),
  );
  const engine = await engineOf('files', 'application', { sites });
  const store = storedStore(engine, createRepository('local', repository, 'shop'), folder);
  fs.mkdirSync(at('config'), { recursive: true });
  fs.writeFileSync(at('config/app.yaml'), 'port: 80\n');
  fs.writeFileSync(at('config/old.pem'), 'old');
  fs.writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff])]), 'no UTF-8');
  fs.symlinkSync('config', at('link'));
  backups.push(await store.back('full'));
  fs.writeFileSync(at('config/app.yaml'), 'port: 8080\n');
  fs.rmSync(at('config/old.pem'));
  fs.writeFileSync(at('config/new.pem'), 'new');
  fs.chmodSync(at('config'), 0o700);
  backups.push(await store.back('incr'));
}, 60_000);
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

async function drctl(...argv: string[]) {
  const io = recordingIo();
  const code = await main(['files', ...argv, '--config', config], io);
  return { code, lines: io.outLines, text: io.text() };
}

async function json(...argv: string[]) {
  const { code, lines, text } = await drctl(...argv, '--output', 'json');
  if (code !== 0) throw new Error(text);
  return JSON.parse(lines.join('\n'));
}

test('listings lie where no lifecycle rule moves them, and files where one may', () => {
  for (const { backupId, artifacts } of backups) {
    const folderOf = (name: string) => path.dirname(artifacts.find((each) => each.name === name)!.key);
    expect(folderOf('listing.jsonl')).toBe(`catalog/application/${backupId}/attempt-1`);
    expect(folderOf('vol-tree.tar')).toBe(`data/files/application/${backupId}/attempt-1`);
  }
});

test('ls: the roots, a directory as it was and as it is, a file, and what is not there', async () => {
  const [full, incremental] = backups as [Manifest, Manifest];
  const names = async (...argv: string[]) =>
    (await json('ls', 'application', ...argv)).entries.map(({ path: name }: { path: string }) => name);
  expect(await names()).toEqual([root]);
  expect(await names(root)).toEqual([`${root}/\\xff`, at('config'), at('link')]);
  expect(await names(at('config'))).toEqual([at('config/app.yaml'), at('config/new.pem')]);
  expect(await names(at('config'), '--at', full.backupId)).toEqual([at('config/app.yaml'), at('config/old.pem')]);
  expect(await names(at('config/app.yaml'))).toEqual([at('config/app.yaml')]);
  expect(await names(root, '--recursive')).toHaveLength(6);
  expect((await json('ls', 'application')).backupId).toBe(incremental.backupId);
  const shown = await drctl('ls', 'application', root);
  expect(shown.text).toMatch(/drwx------ .*config/);
  expect(shown.text).toContain(`${at('link')} -> config`);
  expect(await drctl('ls', 'application', '/nowhere')).toMatchObject({
    code: expect.any(Number),
    text: expect.stringContaining('has no /nowhere'),
  });
  expect((await drctl('ls', 'keys')).text).toContain('keys is a store of redis');
});

test('find and versions: every version, and what is gone', async () => {
  const [full, incremental] = backups.map(({ backupId }) => backupId);
  const found = await json('find', 'application', '*.pem');
  expect(found.backups).toEqual([full, incremental]);
  expect(found.paths).toMatchObject([
    { path: at('config/new.pem'), isGone: false, versions: [{ from: incremental, until: incremental, backups: 1 }] },
    { path: at('config/old.pem'), isGone: true, versions: [{ from: full, until: full }] },
  ]);
  const { paths } = await json('versions', 'application', at('config/app.yaml'));
  expect(paths[0].versions.map(({ entry }: { entry: { sizeBytes: number } }) => entry.sizeBytes)).toEqual([9, 11]);
  expect((await drctl('find', 'application', '*.pem')).text).toContain(`${full}, then gone`);
  expect((await drctl('versions', 'application', '/nowhere')).text).toContain('there is no /nowhere');
});

test('diff: what changed between two backups', async () => {
  const [full, incremental] = backups.map(({ backupId }) => backupId) as [string, string];
  expect((await drctl('diff', 'application', full)).lines).toEqual([
    `${full} -> ${incremental}`,
    `A ${at('config')}  0755 ${process.getuid!()}:${process.getgid!()} -> 0700 ${process.getuid!()}:${process.getgid!()}`,
    `M ${at('config/app.yaml')}  9 B -> 11 B`,
    `+ ${at('config/new.pem')}`,
    `- ${at('config/old.pem')}`,
    '1 added, 1 removed, 1 changed, 1 attributes.',
  ]);
  expect((await drctl('diff', 'application', full, full)).lines.at(-1)).toBe('Nothing changed.');
});

test('get: a file as it was', async () => {
  const into = path.join(folder, 'found');
  const [full] = backups as [Manifest];
  const { text } = await drctl('get', 'application', at('config/old.pem'), '--at', full.backupId, '--into', into);
  expect(text).toContain(`1 entry of ${full.backupId} written below ${into}`);
  expect(fs.readFileSync(into + at('config/old.pem'), 'utf8')).toBe('old');
});
