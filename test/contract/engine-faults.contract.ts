import { setTimeout as sleep } from 'node:timers/promises';
import { Readable, Transform, Writable } from 'node:stream';
import type { Manifest } from '../../core/catalog';
import type { Engine, RestoreRequest } from '../../core/engine';
import { failure, hasCode } from '../../core/errors';
import type { LogArchive } from '../../core/log-archive';
import { compareFingerprints, type Fingerprint } from '../../core/recovery';
import type { VolumeSink, VolumeSource } from '../../core/volumes';
import { combinedSource, MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { damaged } from '../support/damage';
import { rounds, seededRandom } from '../support/random';
import type { EngineHarness } from './engine.contract';

const ENDS_SOON_MILLISECONDS = 5_000;
const LOG_COVERS_MILLISECONDS = 30_000;

/**
 * Faults at random moments, for every engine: `npm test` takes a few of one seed, `npm run test:deep` as many as it was told.
 * Call it beside `engineContract`; it starts servers of its own.
 */
export function engineFaults(engineName: string, start: () => Promise<EngineHarness>): void {
  describe(`${engineName} under faults at random moments`, () => {
    const random = seededRandom(`${engineName} under faults`);
    const volumes = new Map<string, MemoryVolumes>();
    let harness: EngineHarness;
    let engine: Engine;
    let log: LogArchive | null = null;
    let manifest: Manifest;
    let live: Fingerprint;
    /** The volumes that a restore reads: damage elsewhere is found by verifying, not by restoring. */
    let needed: string[] = [];

    /** Archives while `work` is done and until the log covers its end. */
    const archiving = async (work: () => Promise<void>): Promise<void> => {
      if (!engine.log || !log) return work();
      const stop = new AbortController();
      const reached = { covers: 0 };
      const request = { site: harness.site, runForMilliseconds: 600_000, sliceMilliseconds: 200 };
      const running = engine.log
        .archive(
          request,
          log,
          ({ coversUntil }) => (reached.covers = Date.parse(coversUntil ?? '') || 0),
          testContext(stop.signal),
        )
        .then(
          () => null,
          (error: unknown) => error,
        );
      await work();
      const until = Date.now();
      for (; reached.covers < until; await sleep(50))
        if (Date.now() > until + LOG_COVERS_MILLISECONDS) throw new Error('the log does not cover the backup');
      stop.abort(new DOMException('the test is done', 'AbortError'));
      await running;
    };

    beforeAll(async () => {
      harness = await start();
      engine = harness.engine;
      log = engine.log ? new MemoryLogArchive(engine.log.naming) : null;
      await harness.change();
      await archiving(async () => {
        ({ manifest } = await takeBackup(engine, harness.site, volumes, []));
      });
      live = await engine.fingerprint({ site: harness.site }, testContext());
    }, 120_000);
    afterAll(async () => harness?.stop(), 60_000);

    const newRequest = async (restoreId: string): Promise<RestoreRequest> => {
      const target = { kind: 'backup', backupId: manifest.backupId } as const;
      const plan = await engine.planRestore(target, { backups: [manifest], log }, testContext());
      return { restoreId, plan, chain: [manifest], place: await harness.place() };
    };
    const expectEqual = async (request: RestoreRequest) => {
      await engine.restore.replay(request, log, testContext());
      const opened = await engine.restore.open(request, testContext());
      expect(compareFingerprints(live, await engine.fingerprint(opened, testContext()))).toEqual([]);
    };
    const discard = (request: RestoreRequest) => engine.restore.discard(request.place, testContext());
    const endedSoonAfter = (moment: number) => expect(Date.now() - moment).toBeLessThan(ENDS_SOON_MILLISECONDS);

    test.each(rounds(1))(
      'round %i: a dump that is cut off anywhere ends soon, and the next one is whole',
      async (round) => {
        const total = manifest.artifacts.reduce((sum, { contentBytes }) => sum + contentBytes, 0);
        const cutAfterBytes = random.integer(total);
        const how = random.pick(['cancelled', 'without space'] as const);
        const stop = new AbortController();
        const kept = new MemoryVolumes();
        const seen: { cutAt: number | null } = { cutAt: null };
        const cut = () => {
          seen.cutAt ??= Date.now();
          if (how === 'cancelled') stop.abort(new DOMException('cancelled by the test', 'AbortError'));
          return how === 'cancelled' ? null : failure('DiskFull', 'no space: the fault injection');
        };
        const sink = cuttingSink(kept, cutAfterBytes, cut);
        const said = `${how} after ${cutAfterBytes} of ${total} bytes`;
        const request = {
          backupId: `20260101T000000Z-full-${round}`,
          type: 'full',
          site: harness.site,
          existing: [],
        } as const;
        const plan = await engine.planDump(request, testContext());
        const ended = await engine.dump(plan, null, sink, testContext(stop.signal)).then(
          () => null,
          (error: unknown) => error as Error,
        );
        if (seen.cutAt !== null) endedSoonAfter(seen.cutAt);
        if (seen.cutAt !== null && how === 'without space')
          expect({ said, full: hasCode(ended, 'DiskFull') }).toEqual({ said, full: true });
        // A live store's dump may be a little shorter than the last one, and one that was cancelled in its last bytes complete.
        if (ended === null) expect([...kept.digests.keys()].toSorted()).toEqual(namesOf(manifest));
        else expect({ said, cut: seen.cutAt !== null }).toEqual({ said, cut: true });
      },
      60_000,
    );

    test('after all of them a backup is as ever', async () => {
      await archiving(async () => {
        ({ manifest } = await takeBackup(engine, harness.site, volumes, []));
      });
      live = await engine.fingerprint({ site: harness.site }, testContext());
      const request = await newRequest('as-ever');
      await engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
      await expectEqual(request);
      await discard(request);
    }, 120_000);

    test.each(rounds(1))(
      'round %i: a restore that is cut off anywhere is taken up and ends with equal content',
      async (round) => {
        const request = await newRequest(`cut-${round}`);
        const source = combinedSource(volumes);
        const total = manifest.artifacts.reduce((sum, { contentBytes }) => sum + contentBytes, 0);
        for (let cuts = 1 + random.integer(3); cuts > 0; cuts -= 1) {
          const stop = new AbortController();
          const how = random.pick(['cancelled', 'disconnected'] as const);
          const seen: { cutAt: number | null } = { cutAt: null };
          const cutting = cuttingSource(source, random.integer(total), () => {
            seen.cutAt ??= Date.now();
            if (how === 'cancelled') stop.abort(new DOMException('the worker died', 'AbortError'));
            return failure('RepositoryUnavailable', 'connection reset by the fault injection');
          });
          const ended = await engine.restore.rebuild(request, cutting, log, testContext(stop.signal)).then(
            () => null,
            (error: unknown) => error as Error,
          );
          if (seen.cutAt === null) break; // a rebuild reads no more than it needs, or finds that it was done
          endedSoonAfter(seen.cutAt);
          expect(ended).toHaveProperty('message');
        }
        const replayCut = new AbortController();
        await engine.restore.rebuild(request, source, log, testContext());
        const timer = setTimeout(
          () => replayCut.abort(new DOMException('the worker died', 'AbortError')),
          random.integer(400),
        );
        await engine.restore.replay(request, log, testContext(replayCut.signal)).catch((error: unknown) => {
          if (!replayCut.signal.aborted) throw error;
        });
        clearTimeout(timer);
        await expectEqual(request);
        await discard(request);
      },
      180_000,
    );

    test('a restore reads volumes', async () => {
      const whole = combinedSource(volumes);
      const read = new Set<string>();
      const recording: VolumeSource = {
        open: (artifact) => {
          if (artifact.contentBytes > 0) read.add(artifact.name);
          return whole.open(artifact);
        },
        early: (backupId, name) => whole.early(backupId, name),
      };
      const request = await newRequest('recorded');
      await engine.restore.rebuild(request, recording, log, testContext());
      await discard(request);
      needed = [...read].toSorted();
      expect(needed.length).toBeGreaterThan(0);
    }, 60_000);

    test.each(rounds(1))(
      'round %i: a volume that is damaged anywhere is refused by name',
      async (round) => {
        const stored = volumes.get(manifest.backupId) as MemoryVolumes;
        const request = await newRequest(`damaged-${round}`);
        const whole = combinedSource(volumes);
        const name = random.pick(needed);
        const content = stored.contents.get(name) as Buffer;
        const { damage, bytes } = damaged(content, random);
        stored.contents.set(name, bytes);
        try {
          const refused = await engine.restore.rebuild(request, whole, log, testContext()).then(
            () => null,
            (error: unknown) => error as Error,
          );
          expect({ name, damage, found: hasCode(refused, 'BackupCorrupt') }).toEqual({ name, damage, found: true });
          expect(refused?.message).toContain(name);
        } finally {
          stored.contents.set(name, content);
        }
        // Nothing of the damage stays: the same restore succeeds once the volume is right again.
        await engine.restore.rebuild(request, whole, log, testContext());
        await expectEqual(request);
        await discard(request);
      },
      120_000,
    );
  });
}

const namesOf = ({ artifacts }: Manifest) => artifacts.map(({ name }) => name).toSorted();

/** Lets so many bytes of a dump through, then calls `cut` at every chunk: its error is the sink's, null lets it go on. */
function cuttingSink(inner: VolumeSink, bytes: number, cut: () => Error | null): VolumeSink {
  let left = bytes;
  return {
    targetVolumeBytes: inner.targetVolumeBytes,
    early: (name, content) => inner.early(name, content),
    volume: (name) => {
      const target = inner.volume(name);
      target.on('error', () => undefined); // whoever writes hears of it through the outer one
      return new Writable({
        write(chunk: Buffer, encoding, done) {
          left -= chunk.length;
          const error = left < 0 ? cut() : null;
          if (error) done(error);
          else target.write(chunk, encoding, done);
        },
        final: (done) => void target.end(done),
        destroy(error, done) {
          if (error) target.destroy(error);
          done(error);
        },
      });
    },
  };
}

/** The same for a restore: after so many bytes what is read fails with what `cut` answers. */
function cuttingSource(inner: VolumeSource, bytes: number, cut: () => Error): VolumeSource {
  let left = bytes;
  return {
    early: (backupId, name) => inner.early(backupId, name),
    open: async (artifact) => {
      const cutter = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          left -= chunk.length;
          done(left < 0 ? cut() : null, chunk);
        },
      });
      const content = await inner.open(artifact);
      content.once('error', (error) => cutter.destroy(error));
      return Readable.from(content.pipe(cutter), { objectMode: false });
    },
  };
}
