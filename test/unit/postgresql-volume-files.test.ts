import { volumesHolding } from '../../adapters/engines/postgresql/volume-files';
import { rounds, seededRandom } from '../support/random';

const random = seededRandom('postgresql-volume-files');

/** Cuts a stream of members as the volume cutter does, directories between the files as the server sends them. */
function cut(prefix: string, names: readonly string[], sizes: ReadonlyMap<string, number>, targetBytes: number) {
  const volumes: { name: string; contentBytes: number; files: string[] }[] = [];
  let current = { contentBytes: 0, files: [] as string[] };
  const end = () => {
    if (current.contentBytes === 0) return;
    const number = String(volumes.length + 1).padStart(5, '0');
    volumes.push({ name: `${prefix}vol-${number}.tar`, ...current, contentBytes: current.contentBytes + 1_024 });
    current = { contentBytes: 0, files: [] };
  };
  for (const name of names) {
    if (current.contentBytes >= targetBytes) end();
    const size = sizes.get(name);
    current.contentBytes += 512 + Math.ceil((size ?? 0) / 512) * 512;
    if (size !== undefined) current.files.push(name);
  }
  end();
  return volumes;
}

test.each(rounds(20))('round %i: every wanted file lies in a volume that is read, and few others are', () => {
  const sizes = new Map<string, number>();
  const members: string[] = [];
  for (let directory = 0; directory < 3 + random.integer(5); directory += 1) {
    members.push(`base/${directory}/`);
    for (let file = 0; file < random.integer(60); file += 1) {
      const name = `base/${directory}/${file}`;
      sizes.set(name, random.integer(200_000));
      members.push(name);
      if (random.integer(10) === 0) members.push(`empty-${directory}-${file}/`);
    }
  }
  const inSpace = Array.from({ length: 20 }, (_, each) => `pg_tblspc/16384/PG_18/5/${each}`);
  for (const name of inSpace) sizes.set(name, random.integer(200_000));
  const base = cut('', members, sizes, 500_000);
  const space = cut('16384-', inSpace, sizes, 500_000);
  const empty = { name: '16385-vol-00001.tar', contentBytes: 1_536, files: [] };
  // The server sends tablespaces first, and its manifest is in the order of sending.
  const files = new Map(
    [...inSpace, ...members].flatMap((each) => (sizes.has(each) ? [[each, { sizeBytes: sizes.get(each)! }]] : [])),
  );
  const wanted = new Set([...files.keys()].filter(() => random.integer(25) === 0));

  const all = [...base, ...space, empty];
  const read = volumesHolding(all, files, (name) => wanted.has(name));
  expect([...wanted].filter((name) => !read.some((volume) => volume.files.includes(name)))).toEqual([]);
  expect(read).toContain(empty);
  // The end of a volume is uncertain: at most its neighbour is read besides.
  const needed = all.filter((volume) => volume.files.some((name) => wanted.has(name)));
  expect(read.length).toBeLessThanOrEqual(2 * needed.length + 1);
});

test('nothing is read where nothing is wanted', () => {
  const files = new Map([['base/5/1', { sizeBytes: 10 }]]);
  expect(volumesHolding([{ name: 'vol-00001.tar', contentBytes: 4_096 }], files, () => false)).toEqual([]);
});
