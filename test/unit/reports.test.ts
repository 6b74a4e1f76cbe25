import { backupLines, type ShownBackup } from '../../starters/backup-lines';
import { logLines, type WatchedLog } from '../../starters/log-lines';
import { gapsBetween } from '../../core/recovery-gaps';
import { barCells, drawBar } from '../../starters/window-bar';
import type { RecoveryWindow } from '../../core/recovery';
import { manifestOf } from '../support/manifests';
import { randomOf, seedsOfRounds } from '../support/random';

const at = (hours: number) => new Date(Date.UTC(2026, 10, 1) + hours * 3_600_000).toISOString();
const window = (from: number, to: number, lineage = '7361/1'): RecoveryWindow => ({
  from: at(from),
  to: at(to),
  lineage,
  exact: true,
});

test('a bar says where time is missing; windows of several timelines count together', () => {
  const windows = [window(0, 40), window(0, 50, '7361/2'), window(75, 100, '7361/2')];
  expect(gapsBetween(windows)).toEqual([{ from: at(50), to: at(75) }]);
  expect(drawBar(barCells(windows, at(100), 20), false)).toBe('██████████·····█████');
  expect(drawBar(barCells(windows, at(100), 19), false)).toBe('█████████▒····▒████');
  expect(drawBar(barCells(windows, at(125), 20), false)).toBe('████████····████····');
});

test('a gap of one second in a month is seen', () => {
  const month = 24 * 30;
  const cells = barCells([window(0, 300), window(300 + 1 / 3_600, month)], at(month), 76);
  expect(cells.filter((cell) => cell !== 'whole')).toEqual(['broken']);
});

test.each(seedsOfRounds(20))(
  'no cell is whole that a gap touches, none is missing that a window touches (seed %d)',
  (seed) => {
    const { integer } = randomOf(seed);
    const windows = Array.from({ length: 1 + integer(5) }, () => {
      const from = integer(1_000);
      return window(from, from + 1 + integer(200));
    });
    const begin = Math.min(...windows.map(({ from }) => Date.parse(from)));
    const end = Math.max(...windows.map(({ to }) => Date.parse(to)));
    const count = 1 + integer(100);
    for (const [index, cell] of barCells(windows, new Date(end).toISOString(), count).entries()) {
      const [from, to] = [0, 1].map((side) => begin + ((end - begin) * (index + side)) / count) as [number, number];
      const gap = gapsBetween(windows).some((each) => Date.parse(each.from) < to && Date.parse(each.to) > from);
      const covered = windows.some((each) => Date.parse(each.from) < to && Date.parse(each.to) > from);
      expect({ seed, index, cell }).toEqual({ seed, index, cell: gap ? (covered ? 'broken' : 'missing') : 'whole' });
    }
  },
);

test('colour is used only where it is asked for', () => {
  expect(drawBar(['whole', 'whole', 'missing'], true)).toBe('\u001b[32m██\u001b[0m\u001b[31m·\u001b[0m');
});

const watched: WatchedLog = {
  store: 'orders-db',
  engine: 'postgresql',
  windows: [window(0, 50), window(75, 100)],
  gaps: gapsBetween([window(0, 50), window(75, 100)]),
  atRiskSeconds: 1.4,
  rpoSeconds: 60,
  archiver: 'running',
  problem: null,
  source: {
    site: 'primary',
    lineage: '7361/1',
    keptLog: { holder: 'drctl_orders_db', state: 'reading', keptBytes: 2_048, headroomBytes: 20 * 2 ** 30 },
    problem: null,
  },
};

test('log status of a store: judgement, bar, parts with the gap, server', () => {
  const lines = logLines([watched], new Date(at(100)), false);
  expect(lines).toEqual([
    'orders-db  postgresql: 1.4 s at risk (objective 1m 0s), 1 gap, archiver running',
    `  ${'█'.repeat(38)}${'·'.repeat(19)}${'█'.repeat(19)}`,
    '  2026-11-01T00:00:00Z                                    2026-11-05T04:00:00Z',
    '',
    '  FROM                  TO                    LENGTH  LINEAGE',
    '  2026-11-01T00:00:00Z  2026-11-03T02:00:00Z  2d 2h   7361/1',
    '  2026-11-03T02:00:00Z  2026-11-04T03:00:00Z  1d 1h   GAP: cannot be restored',
    '  2026-11-04T03:00:00Z  2026-11-05T04:00:00Z  1d 1h   7361/1',
    '',
    '  server at primary writes 7361/1',
    '  slot drctl_orders_db is being read, 2.0 KiB not archived yet, lost after 20.0 GiB more',
  ]);
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(90);
});

test('what is wrong with a log is loud: nothing to restore, over the objective, a lost slot, a server that is silent', () => {
  const source = { ...watched.source, keptLog: { ...watched.source.keptLog!, state: 'lost' as const } };
  const now = new Date(at(125));
  const late = logLines([{ ...watched, atRiskSeconds: 25 * 3_600, archiver: 'not running', source }], now, false);
  expect(late[0]).toMatch(/1d 1h at risk - OVER ITS OBJECTIVE OF 1m 0s, 1 gap, archiver NOT RUNNING/);
  expect(late[1]).toMatch(/·{15}$/);
  expect(late[2]).toMatch(/now$/);
  expect(late.at(-1)).toMatch(/IS LOST: a new full backup is needed/);
  const silent = { ...watched.source, keptLog: null, problem: 'no answer' };
  expect(logLines([{ ...watched, source: silent }], now, false).at(-1)).toBe(
    '  server at primary cannot be asked: no answer',
  );
  const none = logLines([{ ...watched, windows: [], gaps: [], atRiskSeconds: null }], now, false);
  expect(none[0]).toMatch(/NOTHING CAN BE RESTORED/);
  const damaged = { ...watched, windows: [], gaps: [], atRiskSeconds: null, problem: '00000002.history differs' };
  const both = logLines([damaged, watched], now, false);
  expect(both[0]).toBe('orders-db  postgresql: ITS LOG CANNOT BE READ: 00000002.history differs');
  expect(both).toEqual(expect.arrayContaining(logLines([watched], now, false)));
});

test('a backup is shown with its source, reason, chain, and what restores from it', () => {
  const full = manifestOf('20261101T000000Z-full-00000001', []);
  const part = { type: 'full', consistentAt: at(0), storedBytes: 4_000_000, contentBytes: 9_000_000 };
  const shown: ShownBackup = {
    ...full,
    backupId: '20261102T000000Z-incr-00000002',
    type: 'incr',
    parent: full.backupId,
    lineage: '7361/1',
    source: { site: 'dr', member: '10.0.0.2:5432', follows: 'primary' },
    warnings: ['data_checksums is off'],
    storedBytes: 1_000_000,
    contentBytes: 2_000_000,
    chain: [
      { ...part, backupId: full.backupId },
      {
        ...part,
        backupId: '20261102T000000Z-incr-00000002',
        type: 'incr',
        storedBytes: 1_000_000,
        contentBytes: 2_000_000,
      },
    ],
    neededBy: ['20261103T000000Z-incr-00000003'],
    restores: [window(24, 100)],
    hold: null,
    hasLog: true,
  };
  const text = backupLines(shown, new Date(at(101))).join('\n');
  expect(text).toMatch(/read from +10\.0\.0\.2:5432 at dr, a standby of primary/);
  expect(text).toMatch(/restores +any time from 2026-11-02T00:00:00Z to 2026-11-05T04:00:00Z, along 7361\/1/);
  expect(text).toMatch(/needed by +1 later backup: 20261103T000000Z-incr-00000003/);
  expect(text).toMatch(/warning +data_checksums is off/);
  expect(text).toMatch(/size +no data of its own: it is the archived log/);
  expect(text).toMatch(/2 backups together +4\.8 MiB +10\.5 MiB/);
  const broken = backupLines({ ...shown, chain: null, restores: [], typeReason: 'asked otherwise' }, new Date(at(101)));
  expect(broken.join('\n')).toMatch(
    /because +asked otherwise[^]*restores +NOTHING: a backup that it builds on is missing/,
  );
});
