import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { OpenApplication } from '../../activities/deps';
import { createRestoreActivities } from '../../activities/restore';
import { createStoreCopier } from '../../adapters/copies/store-copier';
import { createReading } from '../../adapters/fallback/reading';
import { createLocalRepository } from '../../adapters/repository/local';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import { findFailure } from '../../core/errors';
import { planAroundDamage } from '../../core/plan-around-damage';
import type { ReadElsewhere } from '../../core/reading';
import type { Fingerprint, RestorePlan } from '../../core/recovery';
import type { Repository } from '../../core/repository';
import type { Finding, StoredLook } from '../../core/verification';
import { isRoot } from '../../lab/servers/process';
import { testContext } from '../support/engine-harness';
import { countOf, seededRandom } from '../support/random';
import { storedApplication } from '../support/stored-application';
import { damages, HOWS, objectsOf, type StoredObject } from '../support/stored-damage';
import { type StoredStore, storedStore } from '../support/stored-store';

const random = seededRandom('proof-damage');
const CASES = countOf('ROUNDS', 8);
/** For a machine that is busy; time decides nothing. */
const LIMIT_MILLISECONDS = 120_000 + CASES * 10_000;
/** A rebuild writes a whole cluster: of the damage that plans do not meet, each so manieth is restored up to the refusal. */
const REBUILD_EVERY = 3;

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-proof-'));
fs.chmodSync(root, 0o755);
const repository = createLocalRepository({ name: 'local', directory: path.join(root, 'repository'), prefix: 'shop' });
let stores: StoredStore[] = [];
/** What each store was before anything was damaged. */
const sound = new Map<string, Sound>();

interface Sound {
  readonly look: StoredLook;
  readonly objects: readonly StoredObject[];
  /** To the last moment that can be restored. */
  readonly plan: RestorePlan;
}

beforeAll(async () => {
  stores = await storedApplication(repository, root, random);
  for (const store of stores) {
    const { verifier } = store.open();
    const look = await verifier.look([], testContext());
    if (look.findings.length > 0) throw new Error(JSON.stringify(look.findings));
    const stored = { backups: look.manifests, log: store.open().log };
    const time = (await store.engine.windows(stored)).at(-1)!.to;
    const plan = await store.engine.planRestore({ kind: 'time', time }, stored, testContext());
    sound.set(store.engine.store, { look, objects: await objectsOf(store, look), plan });
  }
}, 600_000);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

/** Whether the log is whole without it. */
function isSpare({ entry, store }: StoredObject): boolean {
  if (!entry) return false;
  const { naming } = store.engine.log!;
  const others = sound.get(store.engine.store)!.objects.flatMap((each) => each.entry ?? []);
  return others.some(
    (each) =>
      each.key !== entry.key &&
      each.lineage === entry.lineage &&
      naming.compare(each.from, entry.from) <= 0 &&
      naming.compare(each.to, entry.to) >= 0,
  );
}

async function findingsOf(store: StoredStore): Promise<Finding[]> {
  const { verifier } = store.open();
  const before = sound.get(store.engine.store)!.look.log;
  const look = await verifier.look(before, testContext());
  const log = look.log.map(({ lineage }) => ({ lineage, from: null, to: null }));
  const read = await verifier.read(
    { backups: [...look.manifests, ...look.recovered], log },
    null,
    () => undefined,
    testContext(),
  );
  return [...look.findings, ...read.findings];
}

/**
 * A missing piece of log has no name any more: what is missing is said by its positions. Of a file and the digest beside it that
 * differ the text names both: nobody can tell which of them was altered.
 */
function names(findings: readonly Finding[], { key, entry }: StoredObject): boolean {
  const missing = entry && `from ${entry.from.value} to ${entry.to.value} is missing`;
  return findings.some(
    (each) => each.key === key || each.problem.includes(key) || (missing !== null && each.problem.includes(missing)),
  );
}

/** Whether a restore to its backup, or of its log to the last moment, cannot do without it. */
function isNeeded({ backupId, key, kind, entry, store }: StoredObject): boolean {
  // By the listing of files a person finds one; a whole restore goes without it.
  if (key.includes('/listing.jsonl')) return false;
  if (backupId !== null) return kind !== 'decision.json' && kind !== 'artifacts.json';
  if (entry === null) return kind === '.history' && store.engine.kind === 'postgresql';
  const { plan } = sound.get(store.engine.store)!;
  const { naming } = store.engine.log!;
  if (plan.log === null || entry.lineage !== plan.lineage) return false;
  return plan.log.from.lineage !== entry.lineage || naming.compare(entry.to, plan.log.from) > 0;
}

/** Whether the restore of the plan reads it, so that it has to say what it met. */
function isReadByPlan(object: StoredObject): boolean {
  const { plan } = sound.get(object.store.engine.store)!;
  if (object.backupId !== null) return isNeeded(object) && plan.chain.includes(object.backupId);
  return object.entry !== null && isNeeded(object) && !isSpare(object);
}

/** As the activities restore, from the first repository and where that has to be from the copy. */
async function restored(
  store: StoredStore,
  copy: Repository,
  number: number,
): Promise<{ readonly fingerprint: Fingerprint; readonly met: readonly ReadElsewhere[] }> {
  const { engine } = store;
  const placeOf = (name: string, at: StoredStore) => ({ name, ...at.open() });
  const elsewhere = storedStore(engine, copy, root);
  const open = {
    engine: () => engine,
    reading: () =>
      createReading(
        [placeOf('local', store), placeOf('copy', elsewhere)],
        { store: engine.store, naming: engine.log?.naming ?? null },
        new Map(),
      ),
    copies: () => [],
    retentionStore: () => createRetentionStore(repository, engine.store, null),
  } as unknown as OpenApplication;
  const activities = createRestoreActivities({ site: 's', hostId: 'h', open: () => open });
  const osUser = isRoot && engine.kind === 'postgresql' ? 'nobody' : null;
  const place = { directory: path.join(root, `again-${number}`), host: '127.22.0.8', port: 0, osUser, overwrite: true };
  const { plan } = sound.get(engine.store)!;
  const input = { application: 'shop', restoreId: `r${number}`, store: engine.store, plan, place };
  const run = <T>(work: () => Promise<T>) => new MockActivityEnvironment().run<[], T, () => Promise<T>>(work);
  try {
    const met = [...(await run(() => activities.rebuildStore(input)))];
    met.push(...((await run(() => activities.replayLog(input))).elsewhere ?? []));
    const opened = await run(() => activities.openStore(input));
    return { fingerprint: await engine.fingerprint(opened, testContext()), met };
  } finally {
    await engine.restore.discard(place, testContext());
  }
}

/** What a restore may end with that meets damage; the last two are of restores that were not to meet it. */
const REFUSALS = ['BackupCorrupt', 'PitrTargetUnreachable', 'NotFound', 'LogGap', 'not needed', 'not tried'];

/** What a restore that needs the object says; null where it came through, or where `rebuilds` would have to tell. */
async function refusal(object: StoredObject, rebuilds: boolean): Promise<unknown> {
  const { engine } = object.store;
  const { backupId, entry } = object;
  const { catalog, transfer, log } = object.store.open();
  const target = backupId === null ? sound.get(engine.store)!.plan.target : { kind: 'backup' as const, backupId };
  const osUser = isRoot && engine.kind === 'postgresql' ? 'nobody' : null;
  const place = { directory: path.join(root, 'place'), host: '127.22.0.8', port: 0, osUser, overwrite: false };
  try {
    const plan = await planAroundDamage(engine, target, { catalog, log }, testContext());
    const chain = await Promise.all(plan.chain.map((id) => catalog.get(engine.store, id)));
    if (entry && log) return await log.open(entry).then(() => null);
    if (!rebuilds) return 'not tried';
    await engine.restore.rebuild({ restoreId: 'r', plan, chain, place }, transfer.source(chain), log, testContext());
    return null;
  } catch (error) {
    return findFailure(error)?.code ?? error;
  } finally {
    await engine.restore.discard(place, testContext());
  }
}

/** Restores are whole: of each round one is brought up, read, and thrown away. */
const COPIED_CASES = countOf('TARGETS', 2);

test(
  `whatever is damaged in the first repository, a restore brings the same back from the copy and names it (${COPIED_CASES} cases, seed ${random.seed})`,
  async () => {
    const copy = createLocalRepository({ name: 'copy', directory: path.join(root, 'copy'), prefix: 'shop' });
    const intact = new Map<string, Fingerprint>();
    for (const { engine } of stores) {
      const parts = { from: repository, to: copy, store: engine.store, naming: engine.log?.naming ?? null };
      const copier = createStoreCopier({ ...parts, application: 'shop', maxLagSeconds: 60, cipher: null });
      const noted = { keep: () => undefined, announce: async () => undefined };
      const { notCopied } = await copier.run({ wholeListing: true }, null, noted.keep, noted.announce, testContext());
      expect(notCopied).toEqual([]);
    }
    for (let number = 1; number <= COPIED_CASES; number += 1) {
      const store = stores[number % stores.length]!;
      const { engine } = store;
      if (!intact.has(engine.store)) intact.set(engine.store, (await restored(store, copy, number)).fingerprint);
      const needed = sound.get(engine.store)!.objects.filter(isReadByPlan);
      const object = random.pick(needed);
      const how = random.pick(HOWS);
      const damage = damages[how](object, random, needed);
      try {
        const { fingerprint, met } = await restored(store, copy, number);
        const about = { number, key: object.key, how: damage.what };
        expect({ ...about, fingerprint }).toEqual({ ...about, fingerprint: intact.get(engine.store) });
        expect({ ...about, met: met.some(({ key }) => key === object.key) }).toEqual({ ...about, met: true });
      } finally {
        damage.undo();
      }
    }
  },
  LIMIT_MILLISECONDS,
);

test(
  `whatever is damaged is found and named, and not restored from (${CASES} cases, seed ${random.seed})`,
  async () => {
    const tally = new Map<string, number>();
    const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
    for (let number = 1; number <= CASES; number += 1) {
      const { objects } = sound.get(random.pick(stores).engine.store)!;
      const kind = random.pick([...new Set(objects.map((each) => each.kind))]);
      const how = random.pick(HOWS);
      const possible = objects.filter((each) => each.kind === kind && !(how === 'deleted' && isSpare(each)));
      const object = random.pick(possible.length > 0 ? possible : objects.filter((each) => each.kind === kind));
      if (how === 'deleted' && isSpare(object)) throw new Error(`every ${kind} is spare`);
      const { engine } = object.store;
      const damage = damages[how](object, random, objects);
      try {
        const findings = await findingsOf(object.store);
        for (const key of damage.keys) {
          const named = names(
            findings,
            objects.find((each) => each.key === key)!,
          );
          expect(named ? null : { number, key, how: damage.what, findings }).toBeNull();
        }
        count(`${how}: found`);
        const said = isNeeded(object) ? await refusal(object, number % REBUILD_EVERY === 0) : 'not needed';
        const isRefused = REFUSALS.includes(String(said));
        expect(isRefused ? null : { number, key: object.key, how: damage.what, said }).toBeNull();
        count(`${engine.kind}: restore ${String(said).startsWith('not ') ? String(said) : 'refused'}`);
      } finally {
        damage.undo();
      }
    }
    for (const store of stores) expect(await findingsOf(store)).toEqual([]);
    process.stderr.write(
      `${[...tally]
        .map((each) => each.join(' '))
        .toSorted()
        .join(', ')}\n`,
    );
  },
  LIMIT_MILLISECONDS,
);
