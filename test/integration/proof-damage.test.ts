import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createLocalRepository } from '../../adapters/repository/local';
import { findFailure } from '../../core/errors';
import type { LogEntry } from '../../core/log-archive';
import { planAroundDamage } from '../../core/plan-around-damage';
import type { RestorePlan } from '../../core/recovery';
import type { Finding, StoredLook } from '../../core/verification';
import { isRoot } from '../../lab/servers/process';
import { testContext } from '../support/engine-harness';
import { countOf, seededRandom } from '../support/random';
import { storedApplication } from '../support/stored-application';
import type { StoredStore } from '../support/stored-store';

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

interface StoredObject {
  readonly key: string;
  readonly store: StoredStore;
  /** What it is, so that rare kinds are damaged as often as common ones. */
  readonly kind: string;
  /** Of a piece of log; others may hold all of what it holds, so that nothing misses it. */
  readonly entry: LogEntry | null;
  readonly backupId: string | null;
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

async function objectsOf(store: StoredStore, look: StoredLook): Promise<StoredObject[]> {
  const name = store.engine.store;
  const { log } = store.open();
  const entries = (await Promise.all(look.log.map(({ lineage }) => log!.entries(lineage)))).flat();
  const found: StoredObject[] = [];
  for await (const { key } of repository.list('')) {
    if (key.split('/')[key.startsWith('catalog/') ? 1 : 2] !== name) continue;
    const entry = entries.find((each) => each.key === key) ?? null;
    const backupId = /\d{8}T\d{6}Z-(?:full|incr)-[0-9a-f]{8}/.exec(key)?.[0] ?? null;
    const file = path.basename(key).replace(backupId ?? ' ', '');
    const kind = entry ? entry.kind : key.includes('/history/') ? path.extname(key) : file.replace(/\d+/, 'n');
    // Slices that a segment hides are nobody's any more.
    if (entry || backupId || key.includes('/history/')) found.push({ key, store, kind, entry, backupId });
  }
  return found;
}

const fileOf = (key: string) => path.join(repository.location, key);

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

interface Damage {
  readonly what: string;
  readonly keys: readonly string[];
  undo(): void;
}

const kinds = {
  'one bit flipped': (object: StoredObject) => {
    const content = fs.readFileSync(fileOf(object.key));
    const [at, bit] = [random.integer(content.length), random.integer(8)];
    content[at] = (content[at] as number) ^ (1 << bit);
    return { ...rewritten(object.key, content), what: `bit ${bit} of byte ${at} flipped` };
  },
  'cut off': (object: StoredObject) => {
    const content = fs.readFileSync(fileOf(object.key));
    const length = random.integer(content.length);
    return { ...rewritten(object.key, content.subarray(0, length)), what: `cut off at ${length}` };
  },
  deleted: ({ key }: StoredObject) => {
    const aside = path.join(root, 'aside');
    fs.renameSync(fileOf(key), aside);
    return { what: 'deleted', keys: [key], undo: () => fs.renameSync(aside, fileOf(key)) };
  },
  swapped: (object: StoredObject) => {
    const content = fs.readFileSync(fileOf(object.key));
    const others = sound.get(object.store.engine.store)!.objects;
    const other = random.shuffled(others).find(({ key }) => !fs.readFileSync(fileOf(key)).equals(content))!;
    const first = rewritten(object.key, fs.readFileSync(fileOf(other.key)));
    const second = rewritten(other.key, content);
    const undo = () => [second, first].forEach((each) => each.undo());
    return { what: `swapped with ${other.key}`, keys: [object.key, other.key], undo };
  },
} satisfies Record<string, (object: StoredObject) => Damage>;

function rewritten(key: string, bytes: Buffer): Damage {
  const file = fileOf(key);
  const [before, { atime, mtime }] = [fs.readFileSync(file), fs.statSync(file)];
  const write = (content: Buffer) => {
    fs.writeFileSync(file, content);
    // Bits that rot leave the time as it is.
    fs.utimesSync(file, atime, mtime);
  };
  write(bytes);
  return { what: 'rewritten', keys: [key], undo: () => write(before) };
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

/** A missing piece of log has no name any more: what is missing is said by its positions. */
function names(findings: readonly Finding[], { key, entry }: StoredObject): boolean {
  const missing = entry && `from ${entry.from.value} to ${entry.to.value} is missing`;
  return findings.some((each) => each.key === key || (missing !== null && each.problem.includes(missing)));
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

test(
  `whatever is damaged is found and named, and not restored from (${CASES} cases, seed ${random.seed})`,
  async () => {
    const tally = new Map<string, number>();
    const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
    for (let number = 1; number <= CASES; number += 1) {
      const { objects } = sound.get(random.pick(stores).engine.store)!;
      const kind = random.pick([...new Set(objects.map((each) => each.kind))]);
      const how = random.pick(Object.keys(kinds) as (keyof typeof kinds)[]);
      const possible = objects.filter((each) => each.kind === kind && !(how === 'deleted' && isSpare(each)));
      const object = random.pick(possible.length > 0 ? possible : objects.filter((each) => each.kind === kind));
      if (how === 'deleted' && isSpare(object)) throw new Error(`every ${kind} is spare`);
      const { engine } = object.store;
      const damage = kinds[how](object);
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
