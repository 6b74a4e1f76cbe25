import { archiverProblems, countedArchiver, replicasIn } from '../../adapters/engines/redis/archiver-checks';
import { fenceValue, readFenceLevel } from '../../adapters/engines/redis/fence-level';
import { infoPosition, infoVersion, parseInfo } from '../../adapters/engines/redis/info';
import { MultisetDigest } from '../../adapters/engines/redis/key-digest';
import { redisPosition, redisPositions } from '../../adapters/engines/redis/positions';
import { aclFileFor } from '../../adapters/engines/redis/restored-server';
import { sumCalls } from '../../adapters/engines/redis/write-counter';
import { hasCode } from '../../core/errors';
import { planNearestBackup } from '../../core/nearest-backup';
import { Secret } from '../../core/secret';
import { manifestOf } from '../support/manifests';

function thrownBy(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

test.each([
  [0, 0],
  [1, 2],
  [41, 999],
  [2_000_000, 3],
])('a fence of epoch %i over min-replicas-to-write %i is read back', (epoch, previous) => {
  expect(readFenceLevel(fenceValue({ epoch, previous }))).toEqual({ epoch, previous });
});

test('what an operator sets is no fence, and an epoch that does not fit is refused', () => {
  expect(readFenceLevel(0)).toBeNull();
  expect(readFenceLevel(3)).toBeNull();
  expect(() => fenceValue({ epoch: 3_000_000, previous: 0 })).toThrow(RangeError);
});

test('INFO of a primary, a replica and Valkey', () => {
  const primary = parseInfo(
    '# Replication\r\nrole:master\r\nmaster_replid:abc\r\nmaster_repl_offset:42\r\nredis_version:8.2.3',
  );
  expect(infoPosition(primary)).toEqual(redisPosition('abc', 42));
  expect(infoVersion(primary)).toBe('redis 8.2.3');
  const replica = parseInfo(
    'role:slave\nslave_read_repl_offset:50\nslave_repl_offset:40\nmaster_replid:abc\nmaster_repl_offset:40',
  );
  expect(infoPosition(replica)?.value).toBe('40');
  expect(infoPosition(parseInfo('role:master'))).toBeNull();
  expect(infoVersion(parseInfo('redis_version:7.2.4\nvalkey_version:9.1.2'))).toBe('valkey 9.1.2');
});

test('offsets beyond what a double holds are ordered; two replication ids never compare', () => {
  const [small, large] = [redisPosition('a', '9007199254740992'), redisPosition('a', '9007199254740993')];
  expect(redisPositions.compare(small, large)).toBeLessThan(0);
  expect(redisPositions.compare(large, large)).toBe(0);
  expect(
    hasCode(
      thrownBy(() => redisPositions.compare(small, redisPosition('b', '1'))),
      'UsageInvalid',
    ),
  ).toBe(true);
  expect(
    hasCode(
      thrownBy(() => redisPositions.parse('0/3000148', 'a')),
      'UsageInvalid',
    ),
  ).toBe(true);
});

test('writes are counted by command, subcommands included', () => {
  const stats = 'cmdstat_set:calls=5,usec=1\r\ncmdstat_get:calls=70,usec=1\r\ncmdstat_xgroup|create:calls=2,usec=1\r\n';
  expect(sumCalls(stats, new Set(['set', 'xgroup|create', 'xgroup']))).toBe(7);
});

test('a multiset digest knows number, not order', () => {
  const [a, b] = [Buffer.alloc(32, 0xfe), Buffer.alloc(32, 0x03)];
  const of = (...all: Buffer[]) => {
    const digest = new MultisetDigest();
    all.forEach((each) => digest.add(each));
    return digest.hex();
  };
  expect(of(a, b)).toBe(of(b, a));
  expect(of(a, a)).not.toBe(of(a));
  expect(of(a, a, b)).not.toBe(of(b));
});

test("a restored server's users are the captured ones, its default user that of the restore", () => {
  const captured = 'user default off nopass -@all\nuser shop on #ab ~cart:* +@read\n';
  const text = aclFileFor(captured, new Secret('pw'));
  expect(text).toMatch(/^user default on #[0-9a-f]{64} ~\* &\* \+@all\nuser shop on #ab ~cart:\* \+@read\n$/);
});

describe('the nearest earlier backup', () => {
  const store = { engine: 'redis', store: 'cache', positions: redisPositions };
  const at = (id: string, consistentAt: string, lineage: string, offset: number) =>
    manifestOf(id, [], { engine: 'redis', consistentAt, stop: redisPosition(lineage, offset) });
  const backups = [
    at('b1', '2026-11-20T00:00:00.000Z', 'old', 900),
    at('b3', '2026-11-22T00:00:00.000Z', 'new', 700),
    at('b2', '2026-11-21T00:00:00.000Z', 'new', 300),
  ];
  const chosen = (target: Parameters<typeof planNearestBackup>[1]) => planNearestBackup(store, target, backups);

  test('by time, saying how much earlier it is', () => {
    const plan = chosen({ kind: 'time', time: '2026-11-21T00:01:30.500Z' });
    expect(plan).toMatchObject({ chain: ['b2'], reaches: { exact: false, time: '2026-11-21T00:00:00.000Z' } });
    expect(plan.notes.join()).toContain('90.5 s older');
  });

  test('latest, by id, and by an offset of the newest history', () => {
    expect(chosen({ kind: 'latest' })).toMatchObject({ chain: ['b3'], reaches: { exact: false } });
    expect(chosen({ kind: 'backup', backupId: 'b1' })).toMatchObject({ chain: ['b1'], reaches: { exact: true } });
    expect(chosen({ kind: 'position', text: '699' }).chain).toEqual(['b2']);
    expect(
      hasCode(
        thrownBy(() => chosen({ kind: 'position', text: '299' })),
        'PitrTargetUnreachable',
      ),
    ).toBe(true);
    expect(
      hasCode(
        thrownBy(() => chosen({ kind: 'name', name: 'before-release' })),
        'PitrTargetUnreachable',
      ),
    ).toBe(true);
  });
});

describe('an archiver among the replicas', () => {
  const info = parseInfo(
    'role:master\r\nconnected_slaves:2\r\nslave0:ip=10.0.0.2,port=6379,state=online,offset=9,lag=30\r\n' +
      'slave1:ip=10.0.0.3,port=0,state=online,offset=9,lag=0,type=replica',
  );

  test('is told from them', () => {
    expect(replicasIn(info)).toEqual({
      replicas: [{ port: 6379, online: true, lagSeconds: 30 }],
      archivers: [{ port: 0, online: true, lagSeconds: 0 }],
    });
  });

  test('is named where writes go on only because of it', () => {
    expect(countedArchiver(info, 1, 10)).toContain('CONFIG SET min-replicas-to-write 2');
    expect(countedArchiver(info, 1, 60)).toBeNull();
    expect(countedArchiver(info, 0, 10)).toBeNull();
    expect(countedArchiver(info, 2, 10)).toBeNull();
  });

  test('needs settings that are named with what mends them', () => {
    const limits = 'normal 0 0 0 slave 33554432 0 60 pubsub 33554432 8388608 60';
    const weak = new Map([
      ['repl-backlog-size', '1048576'],
      ['client-output-buffer-limit', limits],
      ['repl-timeout', '5'],
    ]);
    const problems = archiverProblems(info, weak);
    expect(problems).toHaveLength(3);
    for (const each of problems) expect(each).toContain('CONFIG SET ');
    expect(archiverProblems(parseInfo('role:slave'), weak)).toEqual([]);
    // Redis' own limits, and a backlog for a minute.
    const enough = new Map([
      ['repl-backlog-size', '67108864'],
      ['client-output-buffer-limit', 'normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60'],
      ['repl-timeout', '60'],
    ]);
    expect(archiverProblems(info, enough)).toEqual([]);
    expect(archiverProblems(info, new Map())).toEqual([]);
  });
});
