import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createCatalog } from '../../adapters/catalog/catalog';
import { pieceName, positionAt, walNaming } from '../../adapters/engines/postgresql/lsn';
import { fetchSegment, segmentsOf } from '../../adapters/engines/postgresql/wal-fetch';
import { createLocalRepository } from '../../adapters/repository/local';
import { createSpool } from '../../adapters/volumes/spool';
import { sha256 } from '../support/content';
import { testContext } from '../support/call-context';
import { MemoryLogArchive } from '../support/engine-harness';

/**
 * A disk that is really full in the middle of a write: a small file system of its own. Mounting one needs root; CI is, and
 * on a person's machine these tests are listed as not run.
 */
const DISK_BYTES = 16 * 2 ** 20;
const BACKUP = '20261122T130503Z-full-0123abcd';
const store = 'orders';
const LINEAGE = '7301234567890123456/1';
const SEGMENT_BYTES = 8 * 2 ** 20;
const SEGMENT_START = 3n * BigInt(SEGMENT_BYTES);
const onSmallDisk = process.getuid?.() === 0 || process.env['CI'] ? describe : describe.skip;

onSmallDisk('a full disk', () => {
  let disk: string;

  beforeEach(async () => {
    disk = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-small-disk-'));
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]);
  });
  afterEach(async () => {
    execFileSync('umount', [disk]);
    await fs.rm(disk, { recursive: true });
  });

  /** Does not compress, so that what is written is what is stored. */
  const content = (sizeBytes: number) => Readable.from([randomBytes(sizeBytes)]);
  const fill = (leaveBytes: number) => fs.writeFile(path.join(disk, 'others'), randomBytes(DISK_BYTES - leaveBytes));

  test('in the middle of a dump: it says where, leaves nothing that looks complete, and the next attempt goes through', async () => {
    const spool = createSpool({
      directory: disk,
      application: 'shop',
      codec: { codec: 'zstd', level: 3 },
      reserveBytes: 0,
    });
    const begin = (atLeast: number) =>
      spool.begin({ store, backupId: BACKUP, atLeast, leastBytes: 0, targetVolumeBytes: 2 ** 20 });
    await fill(6 * 2 ** 20);
    const first = await begin(1);
    await pipeline(content(2 ** 20), first.volume('vol-00001.tar'));
    const cut = pipeline(content(8 * 2 ** 20), first.volume('vol-00002.tar'));
    await expect(cut).rejects.toMatchObject({ type: 'DiskFull', message: expect.stringContaining(disk) });
    await first.fail(new Error('disk full'));
    expect(await fs.readdir(first.directory)).not.toContain('vol-00002.tar.zst');

    await fs.rm(path.join(disk, 'others'));
    const second = await begin(2);
    await pipeline(content(8 * 2 ** 20), second.volume('vol-00001.tar'));
    expect(await fs.readdir(second.directory)).toContain('vol-00001.tar.zst');
    // The attempt that failed is gone: it held the space that this one needs.
    await expect(fs.access(first.directory)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('before a dump: what cannot fit is refused before a byte is written', async () => {
    const spool = createSpool({
      directory: disk,
      application: 'shop',
      codec: { codec: 'zstd', level: 3 },
      reserveBytes: 0,
    });
    const request = { store, backupId: BACKUP, atLeast: 1, leastBytes: 2 * DISK_BYTES, targetVolumeBytes: 2 ** 20 };
    await expect(spool.begin(request)).rejects.toMatchObject({ type: 'DiskFull' });
  });

  test('in a local repository: no object and no backup appears, what was there stays, and it works again once there is room', async () => {
    const repository = createLocalRepository({ name: 'local', directory: disk, prefix: 'shop' });
    await repository.put('data/kept', Buffer.from('kept'));
    await fill(2 ** 20);
    const file = path.join(os.tmpdir(), `drctl-too-big-${process.pid}`);
    const bytes = randomBytes(4 * 2 ** 20);
    await fs.writeFile(file, bytes);
    try {
      const upload = () => repository.uploadFile('data/big', file, { sha256: sha256(bytes) }, testContext());
      await expect(upload()).rejects.toMatchObject({ type: 'DiskFull', message: expect.stringContaining(disk) });
      expect(await repository.head('data/big')).toBeNull();
      expect((await repository.read('data/kept')).toString()).toBe('kept');
      expect(await createCatalog(repository).list(store)).toEqual([]);
      await fs.rm(path.join(disk, 'others'));
      await upload();
      expect((await repository.read('data/big')).equals(bytes)).toBe(true);
    } finally {
      await fs.rm(file);
    }
  });

  test.each([
    ['whole segment', [SEGMENT_BYTES]],
    ['segment in slices', [2 ** 20, 5 * 2 ** 20]],
  ])('in the middle of log for a restore, a %s: said, and never read as the end of the log', async (_, ends) => {
    const log = new MemoryLogArchive(walNaming);
    const bytes = randomBytes(ends.at(-1)!);
    for (const [index, end] of ends.entries()) {
      const from = ends[index - 1] ?? 0;
      await log.append({
        lineage: LINEAGE,
        name: pieceName(1, SEGMENT_START + BigInt(from), SEGMENT_START + BigInt(end), BigInt(SEGMENT_BYTES)),
        kind: end - from === SEGMENT_BYTES ? 'segment' : 'slice',
        from: positionAt(LINEAGE, SEGMENT_START + BigInt(from)),
        to: positionAt(LINEAGE, SEGMENT_START + BigInt(end)),
        coversUntil: null,
        content: bytes.subarray(from, end),
      });
    }
    const [segment] = segmentsOf(await log.entries(LINEAGE));
    const file = path.join(disk, segment!.name);
    const owner = { uid: process.getuid!(), gid: process.getgid!() };
    const fetch = () => fetchSegment(segment!, file, log, owner, testContext());
    await fill(3 * 2 ** 20);
    await expect(fetch()).rejects.toMatchObject({ type: 'DiskFull', message: expect.stringContaining(file) });
    expect(await fs.readdir(disk)).toEqual(['others']);
    await fs.rm(path.join(disk, 'others'));
    await fetch();
    expect((await fs.readFile(file)).equals(Buffer.concat([bytes, Buffer.alloc(SEGMENT_BYTES - bytes.length)]))).toBe(
      true,
    );
  });
});
