import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createLocalRepository } from '../../adapters/repository/local';
import { createSpool } from '../../adapters/volumes/spool';
import { sha256 } from '../support/content';
import { testContext } from '../support/call-context';

/**
 * A disk that is really full in the middle of a write: a small file system of its own. Mounting one needs root; CI is, and
 * on a person's machine these tests are listed as not run.
 */
const DISK_BYTES = 16 * 2 ** 20;
const BACKUP = '20261122T130503Z-full-0123abcd';
const store = 'orders';
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
});
