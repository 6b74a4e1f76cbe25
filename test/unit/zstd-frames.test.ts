import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { FramePool } from '../../adapters/volumes/frame-pool';
import { provenDigest } from '../../adapters/volumes/whole-frame';
import { FRAME_BYTES, FrameCompressor, zstdFrame } from '../../adapters/volumes/zstd-frames';
import { decompressFrames, lendFrames, splitFrames, ZstdFormatError } from '../../adapters/volumes/zstd-frame-reader';
import { rounds, seededBytes, seededRandom } from '../support/random';

const random = seededRandom('zstd-frames');
const randomBytes = seededBytes();

async function compressed(content: Buffer, chunkBytes: number): Promise<Buffer> {
  const frames: Buffer[] = [];
  const compressor = new FrameCompressor({ level: 3 }, async (frame) => void frames.push(Buffer.from(frame)));
  for (let at = 0; at < content.length; at += chunkBytes) await compressor.write(content.subarray(at, at + chunkBytes));
  await compressor.end();
  return Buffer.concat(frames);
}

async function* cut(bytes: Buffer, chunkBytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Each chunk is copied and then overwritten, as a lender may do as soon as the next one is asked for. */
async function collectLent(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) {
    chunks.push(Buffer.from(chunk));
    chunk.fill(0xee);
  }
  return Buffer.concat(chunks);
}

/** Half of it compresses. */
function halfCompressible(sizeBytes: number): Buffer {
  const rows = Array.from({ length: Math.ceil(sizeBytes / 96) }, (_, id) =>
    `{"id":${id},"token":"${randomBytes(24).toString('hex')}"}\n`.padEnd(96),
  );
  return Buffer.from(rows.join('').slice(0, sizeBytes));
}

describe('zstd frames', () => {
  test.each([0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES + 12_345])(
    '%i bytes come back',
    async (size) => {
      const content = halfCompressible(size);
      for (const chunkBytes of [64 * 1024, 10 * 2 ** 20, 7_919]) {
        const stored = await compressed(content, chunkBytes);
        // Buffer.equals: jest's own comparison takes seconds for megabytes.
        expect((await collect(decompressFrames(cut(stored, chunkBytes)))).equals(content)).toBe(true);
        expect((await collectLent(lendFrames(cut(stored, chunkBytes)))).equals(content)).toBe(true);
      }
    },
  );

  test('the zstd program reads the stream', async () => {
    const content = halfCompressible(2 * FRAME_BYTES + 5);
    const stored = await compressed(content, 100_000);
    expect(execFileSync('zstd', ['-dc'], { input: stored, maxBuffer: 2 ** 26 }).equals(content)).toBe(true);
  });

  test('frames of the zstd program, random data, long runs and skippable frames are told apart', async () => {
    const parts = [randomBytes(300_000), Buffer.alloc(1_000_000, 7), Buffer.from('short'), Buffer.alloc(0)];
    const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
    const byProgram = execFileSync('zstd', ['-c', '--no-check'], { input: parts[0] });
    const frames = parts.map((part) => zstdCompressSync(part, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }));
    const stored = Buffer.concat([skippable, byProgram, ...frames, skippable]);
    for (const chunkBytes of [1, 3, 65_536]) {
      let count = 0;
      for await (const frame of splitFrames(cut(stored, chunkBytes * 1_009))) count += Math.sign(frame.length);
      expect(count).toBe(5);
      const found = await collect(decompressFrames(cut(stored, chunkBytes * 977)));
      expect(found.equals(Buffer.concat([parts[0]!, ...parts]))).toBe(true);
      expect((await collectLent(lendFrames(cut(stored, chunkBytes * 977)))).equals(found)).toBe(true);
    }
  });

  test('a cut stream, rubbish and a flipped byte are refused', async () => {
    const stored = await compressed(halfCompressible(FRAME_BYTES + 1_000), 100_000);
    const refused = async (bytes: Buffer) => {
      await expect(collect(decompressFrames(cut(bytes, 65_536)))).rejects.toThrow(ZstdFormatError);
      await expect(collectLent(lendFrames(cut(bytes, 65_536)))).rejects.toThrow(ZstdFormatError);
    };
    await refused(stored.subarray(0, stored.length - 1));
    await refused(stored.subarray(0, 2));
    await refused(Buffer.concat([stored, Buffer.from('rubbish')]));
    for (const round of rounds(5)) {
      const at = 20 + random.integer(stored.length - 20);
      const flipped = Buffer.from(stored);
      flipped[at]! ^= 1 << (round % 8);
      await refused(flipped);
      await refused(stored.subarray(0, 1 + random.integer(stored.length - 1)));
    }
  });

  test('the buffers of large volumes are used again', async () => {
    const content = halfCompressible(12 * FRAME_BYTES);
    const buffers = new Set<ArrayBufferLike>();
    for await (const chunk of lendFrames(cut(await compressed(content, 2 ** 20), 65_536))) buffers.add(chunk.buffer);
    expect(buffers.size).toBeLessThanOrEqual(3);
  });

  test('a frame that holds more than its header says is refused', async () => {
    const frame = zstdCompressSync(Buffer.alloc(9 * FRAME_BYTES, 7), { pledgedSrcSize: 9 * FRAME_BYTES });
    const at = frame.indexOf(Buffer.from(new Uint32Array([9 * FRAME_BYTES]).buffer));
    expect(at).toBeGreaterThan(4);
    frame.writeUInt32LE(FRAME_BYTES, at);
    await expect(collectLent(lendFrames(cut(frame, 65_536)))).rejects.toThrow(ZstdFormatError);
  });

  test('one frame is proven only when it is whole, and what was wrong with one says nothing of the next', async () => {
    const content = halfCompressible(FRAME_BYTES);
    const frame = await zstdFrame(content, { level: 3 });
    const prove = (bytes: Buffer) => provenDigest(bytes, content.length);
    const wrong = [1, 4, 5].map((missing) => frame.subarray(0, -missing));
    for (const bytes of [...wrong, Buffer.concat([frame, Buffer.from('x')]), Buffer.concat([frame, frame])]) {
      await expect(prove(bytes)).rejects.toThrow(ZstdFormatError);
      expect(await prove(frame)).toBe(createHash('sha256').update(content).digest('hex'));
    }
  });

  test('a reader that stops early leaves nothing running', async () => {
    const stored = await compressed(halfCompressible(8 * FRAME_BYTES), 2 ** 20);
    for await (const chunk of lendFrames(cut(stored, 65_536))) {
      expect(chunk.length).toBe(FRAME_BYTES);
      break;
    }
  });

  test('an error of the target ends the writing', async () => {
    const compressor = new FrameCompressor({ level: 3 }, () => Promise.reject(new Error('target is gone')));
    const write = async () => {
      for (let i = 0; i < 10; i += 1) await compressor.write(Buffer.alloc(FRAME_BYTES));
    };
    await expect(write()).rejects.toThrow('target is gone');
  });

  test('one that is given up in the middle leaves nothing of it in those beside and behind it', async () => {
    const contents = Array.from({ length: 6 }, () => halfCompressible(FRAME_BYTES + random.integer(3 * FRAME_BYTES)));
    const [open, givenUp] = [new FrameCompressor({ level: 3 }, async () => {}), contents.pop() as Buffer];
    await Promise.all(
      contents.map(async (content) => {
        const dying = new FrameCompressor({ level: 3 }, async () => {});
        await dying.write(givenUp);
        dying.close();
        const restored = await collect(decompressFrames(cut(await compressed(content, 65_536), 65_536)));
        expect(restored.equals(content)).toBe(true);
      }),
    );
    open.close();
  });

  test('buffers go from one volume to the next while any is open, and are given up with the last', () => {
    const pool = new FramePool(3, 1_024);
    pool.open();
    pool.open();
    const first = pool.take();
    pool.give(first);
    pool.close();
    expect(pool.take()).toBe(first);
    pool.give(first);
    pool.close();
    pool.open();
    expect(pool.take()).not.toBe(first);
    pool.close();
  });
});
