import type { SeededRandom } from './random';

/** What becomes of stored bytes in a bad repository; each answers other bytes than it was given. */
const DAMAGES: Readonly<Record<string, (content: Buffer, random: SeededRandom) => Buffer>> = {
  'one bit flipped': (content, random) => {
    const altered = Buffer.from(content);
    const at = random.integer(content.length);
    altered[at] = (altered[at] as number) ^ (1 << random.integer(8));
    return altered;
  },
  'cut off': (content, random) => content.subarray(0, random.integer(content.length)),
  'something appended': (content, random) => Buffer.concat([content, Buffer.alloc(1 + random.integer(100_000))]),
  'a piece zeroed': (content, random) => {
    const altered = Buffer.from(content);
    const from = random.integer(content.length);
    altered.fill(0, from, Math.min(altered.length, from + 1 + random.integer(10_000)));
    return altered.equals(content) ? Buffer.concat([altered, Buffer.alloc(1)]) : altered;
  },
};

/** Damage of a random kind at a random place; says which, for the message of a failure. */
export function damaged(content: Buffer, random: SeededRandom): { readonly damage: string; readonly bytes: Buffer } {
  const damage = random.pick(Object.keys(DAMAGES));
  return { damage, bytes: (DAMAGES[damage] as (typeof DAMAGES)[string])(content, random) };
}
