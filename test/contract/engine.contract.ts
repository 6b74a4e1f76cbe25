import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineEntries, type EngineEntry, type EngineKind } from '../../adapters/engines/registry';
import { ARTIFACT_KINDS, BACKUP_TYPES, type Manifest } from '../../core/catalog';
import type { ArchiveOutcome, Engine, RestoreRequest } from '../../core/engine';
import { findFailure, hasCode } from '../../core/errors';
import type { VolumeSource } from '../../core/volumes';
import {
  compareFingerprints,
  type Fingerprint,
  type RecoveryTarget,
  type RestoredStore,
  type RestorePlace,
} from '../../core/recovery';
import { heartbeatProblem } from '../../core/restored-heartbeat';
import { waitUntil } from '../../lab/servers/process';
import { combinedSource, MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { handOverContract } from './hand-over.contract';
import { rolesContract, type RolesHarness } from './roles.contract';

/** What one engine's test has to bring: a real server at `site`, and ways to write to it. */
export interface EngineHarness {
  readonly engine: Engine;
  /** The active site. */
  readonly site: string;
  /** A site of the settings at which nothing answers. */
  readonly deadSite: string;
  /** Null for engines without a server. */
  readonly silence: {
    /** A site of the settings where connections are accepted and nothing is ever answered (test/support/silent-server.ts). */
    readonly site: string;
    /** Stops every process of `EngineHarness.site` with SIGSTOP, or lets them go on (SIGCONT). */
    signal(signal: 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  } | null;
  /** Of the same store, following `site`; null where the harness has none. */
  readonly standbySite: string | null;
  /** Names what archivers have left at the server of `site`; null where an archiver leaves nothing. */
  readonly leftByArchiver: (() => Promise<string[]>) | null;
  /** Writes something new, different each time, that is acknowledged and durable when this resolves. */
  change(): Promise<void>;
  /** A new place for one restore, beside nothing that others change; called for each restore. */
  place(): Promise<RestorePlace>;
  stop(): Promise<void>;
}

/** Whether something listens there. */
async function accepts({ host, port }: { host: string; port: number }): Promise<boolean> {
  const socket = net.connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // refused, which is the answer
  } finally {
    socket.destroy();
  }
}

/** Of a look at a silent server: its own bound, and as much again for a machine that is busy. */
const SILENCE_MILLISECONDS = 6_000;
const ARCHIVE_STOPS_MILLISECONDS = 60_000;

/**
 * The promises of core/engine.ts, run against every engine. `describe` of its own; call it at the top of a test file.
 * Servers are real, volumes and log archive are in memory (test/support/engine-harness.ts). `startRoles` is null only for
 * an engine without roles: the others keep the contract of roles as well.
 */
export function engineContract(
  engineName: string,
  start: () => Promise<EngineHarness>,
  startRoles: (() => Promise<RolesHarness>) | null,
): void {
  describe(`${engineName} keeps the engine contract`, () => {
    let harness: EngineHarness;
    let engine: Engine;
    const volumes = new Map<string, MemoryVolumes>();
    const backups: Manifest[] = [];
    let log: MemoryLogArchive | null = null;

    const catalog = () => ({ backups, log });
    const back = async () => {
      const taken = await takeBackup(engine, harness.site, volumes, backups);
      backups.push(taken.manifest);
      return taken.manifest;
    };
    const requestFor = async (target: RecoveryTarget, restoreId: string): Promise<RestoreRequest> => {
      const plan = await engine.planRestore(target, catalog(), testContext());
      const chain = plan.chain.map((id) => backups.find((each) => each.backupId === id) as Manifest);
      return { restoreId, plan, chain, place: await harness.place() };
    };
    /** Archives for about this long beside `work`, then on until the log covers `until`. */
    const archiving = async (work: () => Promise<void>): Promise<ArchiveOutcome | null> => {
      if (!engine.log || !log) {
        await work();
        return null;
      }
      const reached: { covers: string | null } = { covers: null };
      const stop = new AbortController();
      const running = engine.log.archive(
        { site: harness.site, runForMilliseconds: ARCHIVE_STOPS_MILLISECONDS, sliceMilliseconds: 200 },
        log,
        (progress) => (reached.covers = progress.coversUntil),
        testContext(stop.signal),
      );
      let failed: unknown = null;
      running.catch((error: unknown) => (failed = error));
      await work();
      const after = Date.now();
      const deadline = after + 30_000;
      while (reached.covers === null || Date.parse(reached.covers) < after) {
        if (failed) throw failed;
        if (Date.now() > deadline)
          throw new Error(`the log covers only ${reached.covers}, not ${new Date(after).toISOString()}`);
        await sleep(50);
      }
      stop.abort(new DOMException('the test is done', 'AbortError'));
      return running.catch((error: Error) => {
        if (stop.signal.aborted) return null;
        throw error;
      });
    };

    beforeAll(async () => {
      harness = await start();
      engine = harness.engine;
      log = engine.log ? new MemoryLogArchive(engine.log.naming) : null;
      await harness.change();
    }, 120_000);
    afterAll(async () => harness?.stop(), 60_000);

    test('the registry says of the engine what it is, and makes it from its settings', () => {
      const entry: EngineEntry | undefined = engineEntries[engine.kind as EngineKind];
      const { hasLog, hasReplication } = entry;
      expect({ hasLog, hasReplication }).toEqual({
        hasLog: engine.log !== null,
        hasReplication: engine.replication !== null,
      });
      expect(startRoles !== null).toBe(hasReplication);
      for (const type of BACKUP_TYPES) expect(ARTIFACT_KINDS).toContain(engine.artifactKind(type));
    });

    test('probe says what is there, and does not throw for a server that is down', async () => {
      const alive = await engine.probe(harness.site, testContext());
      expect(alive).toMatchObject({ site: harness.site, reachable: true });
      expect(alive.identity).toBeTruthy();
      const dead = await engine.probe(harness.deadSite, testContext());
      expect(dead).toMatchObject({ site: harness.deadSite, reachable: false, role: 'unknown', position: null });
      expect(dead.problems.join()).not.toBe('');
      expect((await engine.replication?.state(harness.deadSite, testContext())) ?? null).toBeNull();
      expect((await engine.replication?.epoch(harness.deadSite, testContext())) ?? null).toBeNull();
    });

    test('a dump from a server that is down is TargetUnreachable', async () => {
      const request = { backupId: '20260101T000000Z-full-00000000', type: 'full', existing: [] } as const;
      const error = await engine
        .planDump({ ...request, site: harness.deadSite }, testContext())
        .then((plan) => engine.dump(plan, null, new MemoryVolumes(), testContext()))
        .catch((reason: unknown) => reason);
      expect(hasCode(error, 'TargetUnreachable')).toBe(true);
    });

    test('what was dumped is what is restored, and every step can be repeated', async () => {
      // The log begins before the backup, however slowly the archiver starts beside it.
      await archiving(async () => undefined);
      await archiving(async () => {
        await back();
      });
      const expected = await engine.fingerprint({ site: harness.site }, testContext());
      expect(expected.items.length).toBeGreaterThan(0);
      const manifest = backups.at(-1) as Manifest;
      const request = await requestFor({ kind: 'backup', backupId: manifest.backupId }, 'repeat');
      const beside = fs.readdirSync(path.dirname(request.place.directory));
      const source = combinedSource(volumes);
      await engine.restore.rebuild(request, source, log, testContext());
      await engine.restore.rebuild(request, source, log, testContext());
      await engine.restore.replay(request, log, testContext());
      const replayed = await engine.restore.replay(request, log, testContext());
      expect(replayed.directory).toBe(request.place.directory);
      await engine.restore.open(request, testContext());
      const opened = await engine.restore.open(request, testContext());
      expect(compareFingerprints(expected, await engine.fingerprint(opened, testContext()))).toEqual([]);
      await crashAndOpen(request, opened, expected);
      await harness.change();
      const after = await engine.fingerprint({ site: harness.site }, testContext());
      expect(compareFingerprints(after, await engine.fingerprint(opened, testContext()))).not.toEqual([]);
      await engine.restore.discard(request.place, testContext());
      await engine.restore.discard(request.place, testContext());
      expect(fs.readdirSync(path.dirname(request.place.directory))).toEqual(beside);
      if (opened.address) expect(await accepts(opened.address)).toBe(false);
    }, 180_000);

    /** Killed as by a crash, the server of an opened place comes back where it was, with all that it had. */
    async function crashAndOpen(request: RestoreRequest, opened: RestoredStore, expected: Fingerprint): Promise<void> {
      const { restore } = engine;
      expect(restore.crash === undefined).toBe(opened.address === null);
      if (!restore.crash || !opened.address) return;
      const place = { ...request.place, port: opened.address.port };
      expect(await restore.crash(place, testContext())).toEqual(expect.any(Number));
      expect(await restore.crash(place, testContext())).toBeNull();
      expect(await accepts(opened.address)).toBe(false);
      const again = await engine.restore.open({ ...request, place }, testContext());
      expect(again.address).toEqual(opened.address);
      expect(compareFingerprints(expected, await engine.fingerprint(again, testContext()))).toEqual([]);
    }

    test('a place that holds something else is refused and left as it is', async () => {
      const request = await requestFor({ kind: 'backup', backupId: (backups[0] as Manifest).backupId }, 'occupied');
      fs.mkdirSync(request.place.directory, { recursive: true });
      const precious = path.join(request.place.directory, 'precious');
      fs.writeFileSync(precious, 'kept');
      const refused = await engine.restore
        .rebuild(request, combinedSource(volumes), log, testContext())
        .catch((error: unknown) => error);
      expect(hasCode(refused, 'TargetNotEmpty')).toBe(true);
      // No restore made it, so that it may be live data: `overwrite` is for what restores left.
      const replacing = { ...request, place: { ...request.place, overwrite: true } };
      const stillRefused = await engine.restore
        .rebuild(replacing, combinedSource(volumes), log, testContext())
        .catch((error: unknown) => error);
      expect(hasCode(stillRefused, 'TargetNotEmpty')).toBe(true);
      await engine.restore.discard(request.place, testContext()).catch((error: unknown) => error);
      expect(fs.readdirSync(request.place.directory)).toEqual(['precious']);
      expect(fs.readFileSync(precious, 'utf8')).toBe('kept');
    });

    test('what another restore left is replaced only when that is asked for', async () => {
      const first = await requestFor({ kind: 'backup', backupId: (backups[0] as Manifest).backupId }, 'first');
      const source = combinedSource(volumes);
      await engine.restore.rebuild(first, source, log, testContext());
      const second = { ...first, restoreId: 'second' };
      const refused = await engine.restore.rebuild(second, source, log, testContext()).catch((error: unknown) => error);
      expect(hasCode(refused, 'TargetNotEmpty')).toBe(true);
      const allowed = { ...second, place: { ...second.place, overwrite: true } };
      await engine.restore.rebuild(allowed, source, log, testContext());
      const stale = await engine.restore.replay(first, log, testContext()).catch((error: unknown) => error);
      expect(hasCode(stale, 'TargetNotEmpty')).toBe(true);
      await engine.restore.discard(first.place, testContext());
    }, 60_000);

    test('a try that is believed dead and lives on does not mark what its successor has begun', async () => {
      const request = await requestFor({ kind: 'backup', backupId: (backups[0] as Manifest).backupId }, 'twice');
      const source = combinedSource(volumes);
      const held = () => {
        const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
        const open: VolumeSource['open'] = async (artifact) => {
          reached.resolve();
          await released.promise;
          return source.open(artifact);
        };
        return { open, early: source.early.bind(source), reached: reached.promise, release: released.resolve };
      };
      const begin = async () => {
        const gate = held();
        const ended = engine.restore.rebuild(request, gate, log, testContext()).then(
          () => null,
          (error: unknown) => error,
        );
        await Promise.race([gate.reached, ended]);
        return { ended, release: gate.release };
      };
      const zombie = await begin();
      const successor = await begin();
      zombie.release();
      expect(await zombie.ended).not.toBeNull();
      const opened = await engine.restore
        .replay(request, log, testContext())
        .then(() => engine.restore.open(request, testContext()))
        .catch((error: unknown) => error);
      expect(opened).toHaveProperty('message');
      successor.release();
      await successor.ended; // it may have met what the other wrote, and is then tried again, alone
      await engine.restore.rebuild(request, source, log, testContext());
      await engine.restore.replay(request, log, testContext());
      await engine.restore.open(request, testContext());
      await engine.restore.discard(request.place, testContext());
    }, 120_000);

    test('a volume that was altered is refused by name', async () => {
      const manifest = backups[0] as Manifest;
      const stored = volumes.get(manifest.backupId) as MemoryVolumes;
      const [name, content] = [...stored.contents].toSorted((a, b) => b[1].length - a[1].length)[0] as [string, Buffer];
      const altered = Buffer.from(content);
      altered[altered.length >> 1] = (altered[altered.length >> 1] as number) ^ 0xff;
      stored.contents.set(name, altered);
      const request = await requestFor({ kind: 'backup', backupId: manifest.backupId }, 'altered');
      const refused = await engine.restore
        .rebuild(request, combinedSource(volumes), log, testContext())
        .then(() => engine.restore.replay(request, log, testContext()))
        .catch((error: unknown) => error);
      stored.contents.set(name, content);
      expect(hasCode(refused, 'BackupCorrupt')).toBe(true);
      await engine.restore.discard(request.place, testContext());
    }, 60_000);

    test('a target before the first backup is refused, naming the range that exists', async () => {
      const refused = await engine
        .planRestore({ kind: 'time', time: '2001-01-01T00:00:00.000Z' }, catalog(), testContext())
        .catch((error: unknown) => error);
      expect(hasCode(refused, 'PitrTargetUnreachable')).toBe(true);
      expect((refused as Error).message).toMatch(/20\d\d-\d\d-\d\dT/);
    });

    test('a target in the future is refused where there is a log', async () => {
      if (!engine.log) return;
      const refused = await engine
        .planRestore({ kind: 'time', time: '2099-01-01T00:00:00.000Z' }, catalog(), testContext())
        .catch((error: unknown) => error);
      expect(hasCode(refused, 'PitrTargetUnreachable')).toBe(true);
      expect((refused as Error).message).toMatch(/20\d\d-\d\d-\d\dT/);
    });

    test('a wish that the engine does not understand is refused and not passed over', async () => {
      const refusal = async (target: RecoveryTarget) =>
        findFailure(await engine.planRestore(target, catalog(), testContext()).catch((error: unknown) => error))?.code;
      expect(await refusal({ kind: 'transaction', id: 'none' })).toBe('UsageInvalid');
      expect(await refusal({ kind: 'latest', inclusive: false })).toBe('UsageInvalid');
      expect(await refusal({ kind: 'latest', timeline: 4_000_000 })).toMatch(/UsageInvalid|NotFound/);
      expect(engine.restore.leaves).toContain('open');
      expect(engine.restore.leaves.includes('shutdown')).toBe(engine.restore.shutDown !== undefined);
    });

    test('a backup that is not there is NotFound', async () => {
      const target = { kind: 'backup', backupId: '20010101T000000Z-full-00000000' } as const;
      const refused = await engine.planRestore(target, catalog(), testContext()).catch((error: unknown) => error);
      expect(hasCode(refused, 'NotFound')).toBe(true);
    });

    test('the log has no gap over archivers that were cut off, and leads to the state of an instant', async () => {
      if (!engine.log || !log) return;
      for (let round = 0; round < 3; round += 1) await archiving(async () => harness.change());
      const expected = await engine.fingerprint({ site: harness.site }, testContext());
      await sleep(20); // so that the instant lies strictly between two writes, whatever the clock's grain
      const instant = new Date().toISOString();
      await sleep(20);
      await archiving(async () => harness.change());
      for (const lineage of await log.lineages()) {
        const entries = await log.entries(lineage);
        const breaks = entries.slice(1).filter((entry, index) => {
          const before = entries[index] as (typeof entries)[number];
          return engine.positions.compare(entry.from, before.to) > 0;
        });
        expect(breaks).toEqual([]);
      }
      const request = await requestFor({ kind: 'time', time: instant }, 'instant');
      await engine.restore.rebuild(request, combinedSource(volumes), log, testContext());
      await engine.restore.replay(request, log, testContext());
      const opened = await engine.restore.open(request, testContext());
      expect(compareFingerprints(expected, await engine.fingerprint(opened, testContext()))).toEqual([]);
      await showsTheTime(request, opened, instant);
      await engine.restore.discard(request.place, testContext());
      const windows = await engine.windows(catalog());
      expect(windows.some((window) => window.from <= instant && instant <= window.to)).toBe(true);
    }, 240_000);

    /** The copy's own heartbeat is the last one before the instant, as far as anybody noted it. */
    async function showsTheTime(
      { plan, chain }: RestoreRequest,
      opened: RestoredStore,
      instant: string,
    ): Promise<void> {
      if (!engine.heartbeat) return;
      const at = await engine.heartbeat.in(opened, testContext());
      const noted = await engine.heartbeat.notedBefore?.(instant, plan, { backups: chain, log });
      expect(heartbeatProblem({ at, noted: noted ?? null }, instant)).toBeNull();
      expect(at).toEqual(expect.any(String));
      // An archiver that is asked for it has noted some by then: each round of it waited for one.
      if (engine.heartbeat.notedBefore) expect(noted).toEqual(expect.any(String));
    }

    test('an abort ends a dump within a second or two', async () => {
      const stop = new AbortController();
      const slow = new MemoryVolumes();
      const started = Date.now();
      const running = engine
        .planDump(
          { backupId: '20260101T000000Z-full-00000001', type: 'full', site: harness.site, existing: [] },
          testContext(),
        )
        .then((plan) => {
          stop.abort(new DOMException('cancelled by the test', 'AbortError'));
          return engine.dump(plan, null, slow, testContext(stop.signal));
        })
        .catch((error: unknown) => error);
      expect(await running).toHaveProperty('message'); // an abort's DOMException is of another realm in jest
      expect(Date.now() - started).toBeLessThan(3_000);
    });

    test('what an archiver left at the source goes when it is released, and may be released again', async () => {
      if (!engine.log || !harness.leftByArchiver) return;
      await archiving(async () => harness.change());
      expect(await harness.leftByArchiver()).not.toEqual([]);
      await engine.log.release(harness.site, testContext());
      expect(await harness.leftByArchiver()).toEqual([]);
      await engine.log.release(harness.site, testContext());
      await archiving(async () => harness.change());
      await engine.log.release(harness.site, testContext());
      expect(await harness.leftByArchiver()).toEqual([]);
    }, 120_000);

    const answersSoon = async <T>(work: Promise<T>, milliseconds = SILENCE_MILLISECONDS): Promise<T> => {
      const started = Date.now();
      const result = await work;
      expect(Date.now() - started).toBeLessThan(milliseconds);
      return result;
    };
    const looksDead = async (site: string) => {
      const { replication } = engine;
      const probe = await answersSoon(engine.probe(site, testContext()));
      expect(probe).toMatchObject({ site, reachable: false, role: 'unknown', writable: null, position: null });
      expect(probe.problems.join()).not.toBe('');
      if (!replication) return;
      expect(await answersSoon(replication.state(site, testContext()))).toBeNull();
      expect(await answersSoon(replication.epoch(site, testContext()))).toBeNull();
      const sample = await answersSoon(
        replication.sample(site, harness.standbySite ?? harness.deadSite, testContext()),
      );
      expect(sample.primary).toBeNull();
      expect(sample.problem).toContain(site);
      // As the activity of the failover looks: a bound of the caller's that expires is silence too, and no cancellation.
      const bounded = testContext(AbortSignal.timeout(1_000));
      expect(await answersSoon(engine.probe(site, bounded))).toMatchObject({ reachable: false });
    };

    test('a server that accepts connections and never answers is seen as dead, soon', async () => {
      if (!harness.silence) return;
      const { site } = harness.silence;
      await looksDead(site);
      // No member of the set lives there, so that one whose members elect their primary is rightly fenced by its majority.
      if (!engine.replication || engine.replication.electsItself) return;
      const evidence = await answersSoon(engine.replication.fence(site, harness.site, 1, testContext()), 12_000);
      expect(evidence).toMatchObject({ strength: 'none', site, epoch: 1 });
    }, 60_000);

    // The last one: members of a set may have elected somebody else meanwhile.
    test('a server that hangs is seen as dead and not taken for fenced, soon', async () => {
      if (!harness.silence) return;
      const { site, silence, standbySite } = harness;
      await silence.signal('SIGSTOP');
      try {
        await looksDead(site);
        if (!engine.replication) return;
        const other = standbySite ?? harness.deadSite;
        const evidence = await answersSoon(engine.replication.fence(site, other, 1, testContext()), 12_000);
        expect(evidence).toMatchObject({ strength: 'none', site, epoch: 1 });
      } finally {
        await silence.signal('SIGCONT');
      }
      await waitUntil('the server answering again', async () => (await engine.probe(site, testContext())).reachable);
    }, 60_000);
  });

  if (!startRoles) return;
  rolesContract(engineName, startRoles);
  handOverContract(engineName, startRoles);
}
