import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createProofs } from '../../adapters/catalog/proofs';
import { createLocalRepository } from '../../adapters/repository/local';
import type { Proof } from '../../core/proofs';
import type { VerifiedStore } from '../../core/verify-runs';
import { main } from '../../starters/main';
import { verifyResultLines } from '../../starters/verify';
import { damageOf, VOLUME } from '../support/fake-verify';
import { recordingIo } from '../support/recording-io';

let folder: string;
let config: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drctl-verify-commands-'));
  config = join(folder, 'drctl.yaml');
  const example = readFileSync('config/examples/ultramarket.yaml', 'utf8');
  const local = `repositories:\n  here: { kind: local, directory: ${join(folder, 'repository')} }\n`;
  const text = example.replace('repositories:\n', local).replace('\nrepository: cloud', '\nrepository: here');
  writeFileSync(config, text);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function drctl(...argv: string[]) {
  const io = recordingIo({ env: { DRCTL_CONFIG: config } });
  return { exitCode: await main(argv, io), text: io.text(), out: io.outLines.join('\n') };
}

test.each([
  [['orders-db'], /one of --quick, --full and --restore/],
  [['orders-db', '--quick', '--full'], /one of --quick, --full and --restore/],
  [['--full'], /name at least one store, or say --all/],
  [['ordrs', '--full'], /no store "ordrs"/],
  [['--all', '--quick', '--backup', '20261122T020000Z-full-1a2b3c4d'], /--backup is for the others/],
  [['--all', '--restore', '--every-backup'], /--every-backup is for --full/],
  [['--all', '--full', '--backup', 'newest'], /"newest" is not a backup id/],
  [['--all', '--full', '--seed', '-1'], /write a whole number below 2\^32/],
  [['--all', '--quick', '--seed', '7'], /--seed is for what chance chooses/],
  [['--all', '--restore', '--to', 'latest', '--seed', '7'], /--seed is for what chance chooses/],
  [['--all', '--full', '--to', 'latest'], /--to is for --restore/],
  [['--all', '--restore', '--to', 'soon'], /"soon" is no point to restore to/],
  [['--all', '--full', '--site', 'dr'], /--site is for --restore/],
  [['--all', '--restore', '--site', 'moon'], /no site "moon"/],
])('drctl verify %j is refused before anything is asked of Temporal', async (argv, said) => {
  const { exitCode, text } = await drctl('verify', ...argv);
  expect(text).toMatch(said);
  expect([2, 3]).toContain(exitCode);
});

const VERIFIED: VerifiedStore = {
  ...{ store: 'orders', result: 'failed', proofId: 'p1', backups: ['b1'], problem: null, seconds: 21.4, restore: null },
  looked: { backups: 2, objects: 41, logPieces: 118, readBytes: 2 ** 30 },
  findings: [damageOf('orders'), { ...damageOf('orders', 'catalog/x'), severity: 'notice' }],
  moreFindings: 3,
  restorable: [{ from: '2026-11-21T02:00:09.000Z', to: '2026-11-22T01:59:58.000Z', lineage: '1', exact: true }],
};

test('a person sees what is damaged, what it means, and what is left', () => {
  const result = { application: 'shop', kind: 'full', seed: 7, stores: [VERIFIED] } as const;
  expect(verifyResultLines(result).join('\n')).toBe(
    [
      '',
      'orders: FAILED  full, 2 backups, 41 objects, 118 pieces of log, 1.0 GiB read in 21.4 s',
      `  DAMAGED   ${VOLUME}`,
      '            it is not there',
      '            means: 20260101T000000Z-full-00000001 cannot be restored',
      '  notice    catalog/x (of 20260101T000000Z-full-00000001)',
      '            it is not there',
      '            means: 20260101T000000Z-full-00000001 cannot be restored',
      '  and 3 more objects',
      '  left      2026-11-21T02:00:09Z to 2026-11-22T01:59:58Z can be restored',
      '  proof     p1',
    ].join('\n'),
  );
  const withCopies = verifyResultLines(result, (store) => (store === 'orders' ? ['offsite', 'vault'] : []));
  expect(withCopies.at(-2)).toBe('  copies    a restore reads from offsite, vault what is damaged here');
});

test('proofs are listed and shown from the repository alone', async () => {
  expect((await drctl('proofs', 'list', 'orders-db')).text).toContain('Begin with: drctl verify --all --quick');
  const { restorable, findings, moreFindings } = VERIFIED;
  const proof: Proof = {
    ...{ formatVersion: 1, application: 'ultramarket', store: 'orders-db', kind: 'full', result: 'failed' },
    ...{ proofId: '20261122T043021Z-full-failed-9d3e1c07', at: '2026-11-22T04:30:21.000Z' },
    ...{ startedAt: '2026-11-22T04:30:00.000Z', requestedBy: 'sam', workflowId: 'w', runId: 'r', seed: 7 },
    ...{ backups: ['b1', 'b2'], looked: VERIFIED.looked, findings, moreFindings, log: [], restorable },
    ...{ problem: 'it took long', restore: null },
  };
  const directory = join(folder, 'repository');
  await createProofs(createLocalRepository({ name: 'here', directory, prefix: 'ultramarket' })).keep(proof);
  const listed = await drctl('proofs', 'list', 'orders-db');
  expect(listed.text).toMatch(/orders-db +full +FAILED +2026-11-22T04:30:21Z .*20261122T043021Z-full-failed-9d3e1c07/);
  const shown = await drctl('proofs', 'show', proof.proofId);
  expect(shown.text).toContain('chosen    by chance, seed 7');
  expect(shown.text).toContain('problem   it took long');
  expect(shown.text).toContain(`DAMAGED   ${VOLUME}`);
  expect(JSON.parse((await drctl('proofs', 'show', proof.proofId, '-o', 'json')).out)).toEqual(proof);
  expect((await drctl('proofs', 'show', 'p1')).exitCode).toBe(2);
  expect(await drctl('proofs', 'show', proof.proofId.replace('failed', 'proven'))).toMatchObject({ exitCode: 3 });
}, 30_000);
