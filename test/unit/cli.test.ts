import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { failure } from '../../core/errors';
import { FAILURES } from '../../core/failure-classes';
import { cardLines } from '../../starters/approval-card';
import { backupResultLines } from '../../starters/backup';
import { commandLine, main } from '../../starters/main';
import { readTarget, withChoice } from '../../starters/recovery-target';
import { describeError, errorLines } from '../../starters/show-error';
import { relativeTime, tableLines } from '../../starters/table';
import { recordingIo } from '../support/recording-io';

const EXAMPLE = 'config/examples/ultramarket.yaml';
const NOW = new Date('2026-11-22T13:05:03.000Z');

async function drctl(...argv: string[]) {
  const io = recordingIo({ env: { DRCTL_CONFIG: EXAMPLE } });
  return { exitCode: await main(argv, io), io, text: io.text() };
}

describe('what a person types after --to', () => {
  test.each([
    ['latest', { kind: 'latest' }],
    ['2026-11-22T13:05:03Z', { kind: 'time', time: '2026-11-22T13:05:03.000Z' }],
    ['2026-11-22T18:05:02.5+05:00', { kind: 'time', time: '2026-11-22T13:05:02.500Z' }],
    ['2026-11-22 13:04 UTC', { kind: 'time', time: '2026-11-22T13:04:00.000Z' }],
    ['10 minutes ago', { kind: 'time', time: '2026-11-22T12:55:03.000Z' }],
    ['1 hour ago', { kind: 'time', time: '2026-11-22T12:05:03.000Z' }],
    ['20261122T020000Z-full-1a2b3c4d', { kind: 'backup', backupId: '20261122T020000Z-full-1a2b3c4d' }],
    ['0/3000148', { kind: 'position', text: '0/3000148' }],
    ['1763800000:3', { kind: 'position', text: '1763800000:3' }],
    ['position:1234567', { kind: 'position', text: '1234567' }],
    ['name:before-migration', { kind: 'name', name: 'before-migration' }],
    ['xid:48213', { kind: 'transaction', id: '48213' }],
    ['2026-11-22T13:05:02.123456Z', { kind: 'time', time: '2026-11-22T13:05:02.123456Z' }],
    ['2026-11-22T13:05:02.120000Z', { kind: 'time', time: '2026-11-22T13:05:02.120Z' }],
  ])('%s', (text, target) => {
    expect(readTarget(text, NOW).target).toEqual(target);
  });

  test('a time without a zone is local, and it says so', () => {
    const { target, note } = readTarget('2026-11-21 13:05:03', NOW);
    expect(target).toEqual({ kind: 'time', time: new Date('2026-11-21T13:05:03').toISOString() });
    expect(note).toMatch(/no zone: read as local time, 2026-11-2/);
  });

  test.each(['yesterday', '', '2026-13-01T00:00:00Z', '2026-02-30 10:00:00', '25:00', 'orders', '-5 minutes ago'])(
    '"%s" is refused with what is allowed',
    (text) => {
      const shown = describeError(
        thrownBy(() => readTarget(text, NOW)),
        'drctl restore',
      );
      expect(shown).toMatchObject({ code: 'UsageInvalid', exitCode: 2 });
      expect(shown.next).toContain('10 minutes ago');
    },
  );

  test('how it is meant goes with it, and what cannot be meant is refused', () => {
    const { target } = readTarget('0/3000148', NOW);
    expect(withChoice(target, {})).toEqual(target);
    expect(withChoice(target, { exclusive: true, timeline: '2' })).toEqual({
      ...target,
      inclusive: false,
      timeline: 2,
    });
    expect(withChoice({ kind: 'transaction', id: '7' }, { inclusive: true })).toMatchObject({ inclusive: true });
    expect(() => withChoice(target, { inclusive: true, exclusive: true })).toThrow(/opposite/);
    expect(() => withChoice({ kind: 'latest' }, { exclusive: true })).toThrow(
      /only a time, a position or a transaction/,
    );
    expect(() => withChoice(target, { timeline: 'latest' })).toThrow(/--timeline is "latest"/);
  });

  test('the future is refused', () => {
    expect(() => readTarget('2026-11-22T13:05:04Z', NOW)).toThrow(/future/);
  });
});

function thrownBy(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('errors', () => {
  test('four short lines: what, where, what it means for the data, what to do', () => {
    const error = failure('RepositoryUnavailable', 'cannot list s3://ultramarket-backups: connection refused');
    expect(errorLines(describeError(error, 'drctl backups list'))).toEqual([
      'Failed: cannot list s3://ultramarket-backups: connection refused',
      'Where:  drctl backups list (RepositoryUnavailable)',
      `Data:   ${FAILURES.RepositoryUnavailable.data}`,
      `Next:   ${FAILURES.RepositoryUnavailable.next}`,
    ]);
  });

  test('what is not in the table is a failure too, with the innermost reason', () => {
    const error = new Error('outer', { cause: new Error('the real reason') });
    expect(describeError(error, 'drctl status')).toMatchObject({
      code: 'Unexpected',
      message: 'the real reason',
      exitCode: 1,
    });
  });

  test.each([
    [['bakup'], 2, 'Did you mean backup?'],
    [['backup', '--typ', 'full'], 2, 'unknown option'],
    [['backup', '--type', 'half', 'orders-db'], 2, 'Allowed choices are full, incr'],
    [['backup'], 2, 'name at least one store'],
    [['backup', 'orders'], 3, 'there are: orders-db, catalog, sessions, application, configuration'],
    [['backup', 'orders-db', '--all'], 2, 'not both'],
    [['restore', 'orders-db'], 2, '--to'],
    [['restore', 'orders-db', '--to', 'latest'], 2, '--into'],
    [['restore', 'orders-db', '--to', 'latest', '--into', '/x', '--port', 'abc'], 2, '65535'],
    [
      ['restore', 'orders-db', 'catalog', '--to', 'latest', '--into', '/x', '--port', '7000', '--yes', '--site', 'dr'],
      2,
      'one store',
    ],
    [['restore', 'orders-db', '--to', 'latest', '--into', '/x', '--site', 'mars'], 3, 'primary, dr'],
    [['restore', 'orders-db', '--to', 'latest', '--into', '/x', '--site', 'dr'], 2, 'no terminal to ask on'],
    [['failover', 'start', '--to', 'mars', '--reason', 'x'], 3, 'primary, dr'],
    [['failover', 'start', '--to', 'dr'], 2, '--reason'],
    [['failover', 'reject'], 2, '--reason'],
    [['backups', 'show', 'x'], 2, 'not a backup id'],
    [['backups', 'list', '--limit', '0'], 2, 'whole number'],
    [['config', 'check', '--config', '/nowhere.yaml'], 2, 'there is no such file'],
    [['schedules', 'pause', 'ful'], 3, 'there are: full, incremental'],
  ])('%j ends with %i', async (argv, exitCode, part) => {
    const ended = await drctl(...argv);
    expect(ended.text).toContain(part);
    expect(ended.exitCode).toBe(exitCode);
    expect(ended.io.outLines).toEqual([]);
  });

  test('with --output json an error is one document on standard output', async () => {
    const { exitCode, io } = await drctl('backup', 'orders', '--output', 'json');
    expect(exitCode).toBe(3);
    expect(JSON.parse(io.outLines.join('\n'))).toMatchObject({ error: { code: 'NotFound', exitCode: 3 } });
    expect(io.notes).toEqual([]);
  });
});

describe('help', () => {
  test('every command that runs has help, its config and its output', async () => {
    const leaves = leavesOf(commandLine(recordingIo()).program);
    expect(leaves.length).toBeGreaterThan(25);
    for (const path of leaves) {
      const { exitCode, text } = await drctl(...path, '--help');
      expect({ path, exitCode }).toEqual({ path, exitCode: 0 });
      expect(text).toContain('--config <file>');
      expect(text).toContain('--output <form>');
    }
  });

  test('nothing but drctl shows the help', async () => {
    const { exitCode, text } = await drctl();
    expect(exitCode).toBe(0);
    expect(text).toMatch(/status .*one screen/);
  });
});

const leavesOf = (command: Command): string[][] =>
  command.commands.flatMap((each) =>
    each.commands.length > 0 ? leavesOf(each).map((path) => [each.name(), ...path]) : [[each.name()]],
  );

test('config check says what is in the file, and with --secrets what cannot be read here', async () => {
  const plain = await drctl('config', 'check');
  expect(plain.exitCode).toBe(0);
  expect(plain.text).toContain('orders-db (postgresql), catalog (mongodb), sessions (redis)');
  const secrets = await drctl('config', 'check', '--secrets');
  expect(secrets.exitCode).toBe(2);
  expect(secrets.text).toContain('environment variable ULTRAMARKET_PG_PASSWORD: it is not set');
});

test('the config is found by --config, by DRCTL_CONFIG, else beside the caller', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'drctl-cli-'));
  try {
    const file = join(folder, 'broken.yaml');
    writeFileSync(file, 'application: shop\nsitez: {}\n');
    const { exitCode, text } = await drctl('config', 'check', '-c', file);
    expect(exitCode).toBe(2);
    expect(text).toContain(`${file}:2`);
    expect(text).toContain('did you mean "sites"?');
  } finally {
    rmSync(folder, { recursive: true });
  }
  const none = recordingIo();
  expect(await main(['config', 'check'], none)).toBe(2);
  expect(none.text()).toContain(join(process.cwd(), 'drctl.yaml'));
});

describe('what is shown', () => {
  test('an unknown loss is shown as unknown and never as zero', () => {
    const lines = cardLines(
      {
        application: 'shop',
        fromSite: 'primary',
        toSite: 'dr',
        requestedBy: 'sam',
        reason: 'it is dark',
        evidence: ['orders at primary: does not answer'],
        number: 1,
        measuredAt: '2026-11-22T13:05:00.000Z',
        problem: null,
        worse: [],
        rtoSeconds: 14_400,
        rpoSeconds: 900,
        losses: [
          {
            store: 'orders',
            certainty: 'bound',
            bytes: 1_024,
            operations: 12,
            seconds: 2.5,
            measuredAt: '2026-11-22T13:05:00.000Z',
            sampleAgeSeconds: 2,
            growth: { bytesPerSecond: 100, operationsPerSecond: 1.5 },
            basis: 'measured',
          },
          {
            store: 'sessions',
            certainty: 'unknown',
            bytes: null,
            operations: null,
            seconds: null,
            measuredAt: '2026-11-22T13:05:00.000Z',
            sampleAgeSeconds: null,
            growth: { bytesPerSecond: null, operationsPerSecond: null },
            basis: 'the standby does not answer',
          },
          {
            store: 'events',
            certainty: 'bound',
            bytes: null,
            operations: null,
            seconds: 901,
            measuredAt: '2026-11-22T13:05:00.000Z',
            sampleAgeSeconds: 900,
            growth: { bytesPerSecond: null, operationsPerSecond: null },
            basis: 'old sample',
          },
        ],
      },
      NOW,
    ).join('\n');
    expect(lines).toMatch(/orders +at most +2\.5 s +12 +1\.0 KiB +within the objective/);
    expect(lines).toMatch(/sessions +UNKNOWN +unknown +unknown +unknown +cannot be measured/);
    expect(lines).toMatch(/events +at most +15m 1s +unknown +unknown +OVER the objective/);
    expect(lines).toMatch(/grow by a second each second until the old site is fenced \(peak: orders 1\.5 changes\/s\)/);
  });

  test('a backup that failed says what it means and what to do', () => {
    const lines = backupResultLines({
      backups: [],
      skipped: ['catalog'],
      failed: [{ store: 'orders-db', code: 'DiskFull', message: 'no space left at /backup' }],
    }).join('\n');
    expect(lines).toContain('orders-db: FAILED, no space left at /backup');
    expect(lines).toContain(FAILURES.DiskFull.next);
    expect(lines).toContain('catalog: not started, its earlier backup is still running');
  });

  test('tables line up', () => {
    expect(
      tableLines(
        ['store', 'size'],
        [
          ['orders-db', '1.0 MiB'],
          ['a', '12.0 MiB'],
        ],
      ),
    ).toEqual(['STORE          SIZE', 'orders-db   1.0 MiB', 'a          12.0 MiB']);
  });

  test('ages are rough', () => {
    expect(relativeTime('2026-11-22T13:04:03Z', NOW)).toBe('1m ago');
    expect(relativeTime('2026-11-22T15:05:03Z', NOW)).toBe('in 2h');
    expect(relativeTime('2026-11-19T13:05:03Z', NOW)).toBe('3d ago');
  });
});
