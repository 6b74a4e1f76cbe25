import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenApplication } from '../../activities/deps';
import { createUptimeActivities } from '../../activities/uptime';
import { createRepository } from '../../adapters/repository';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import {
  countDay,
  outagesOf,
  readUptimeDay,
  type Stretch,
  unknownDay,
  type UptimeDay,
  withStretch,
} from '../../core/uptime';
import { inActivity } from '../support/in-activity';
import { randomOf, seedsOfRounds } from '../support/random';
import { shop } from '../support/shop-application';

const DAY = '2026-11-23';
const at = (clock: string, day = DAY) => `${day}T${clock}:00.000Z`;
const whole = [at('00:00'), at('00:00', '2026-11-24')] as const;
const stretch = (from: string, to: string, state: Stretch['state'], problem: string | null = null): Stretch => ({
  ...{ from: at(from), to: at(to), state, problem },
});

test('a minute is what was seen of it, and unknown where nobody looked', () => {
  const day = [stretch('00:00', '00:01', 'up'), stretch('00:05', '00:06', 'down', 'refused')].reduce(
    withStretch,
    unknownDay(DAY),
  );
  expect(day.minutes.slice(0, 8)).toBe('UU...DD.');
  expect(countDay(day, ...whole)).toEqual({ day: DAY, upMinutes: 2, downMinutes: 2, unknownMinutes: 1_436 });
  expect(countDay(day, at('00:01'), at('00:06'))).toEqual({
    day: DAY,
    upMinutes: 1,
    downMinutes: 1,
    unknownMinutes: 3,
  });
  expect(outagesOf([day], ...whole)).toEqual([{ from: at('00:05'), minutes: 2, problem: 'refused' }]);
});

test('an outage over midnight is one; a minute that is not known ends one', () => {
  const seen = { from: at('23:59'), to: at('00:01', '2026-11-24'), state: 'down' as const, problem: 'no answer' };
  const days = [DAY, '2026-11-24'].map((day) => withStretch(unknownDay(day), seen));
  const later = withStretch(days[1]!, { ...seen, from: at('00:03', '2026-11-24'), to: at('00:03', '2026-11-24') });
  expect(outagesOf([days[0]!, later], at('00:00'), at('12:00', '2026-11-24'))).toEqual([
    { from: at('23:59'), minutes: 3, problem: 'no answer' },
    { from: at('00:03', '2026-11-24'), minutes: 1, problem: 'no answer' },
  ]);
});

test.each(seedsOfRounds(10))('whoever looks, in whatever order, comes to the same (seed %d)', (seed) => {
  const { integer, shuffled, pick } = randomOf(seed);
  const clock = (minute: number) => new Date(Date.parse(at('00:00')) + minute * 60_000).toISOString();
  const seen = Array.from({ length: 30 }, (): Stretch => {
    const from = integer(1_440);
    const state = pick(['up', 'down'] as const);
    return { from: clock(from), to: clock(from + integer(4)), state, problem: null };
  });
  const minutes = (all: readonly Stretch[]) => all.reduce(withStretch, unknownDay(DAY)).minutes;
  expect(minutes(shuffled(seen))).toBe(minutes(seen));
  expect(minutes([...seen, ...seen])).toBe(minutes(seen));
});

test.each([
  ['nothing', null],
  ['another day', unknownDay('2026-11-22')],
  ['minutes that are too few', { ...unknownDay(DAY), minutes: 'U' }],
  ['signs that nobody knows', { ...unknownDay(DAY), minutes: '?'.repeat(1_440) }],
])('%s is no record of the day', (_, stored) => {
  expect(readUptimeDay(DAY, stored)).toBeNull();
});

describe('the probe', () => {
  let folder: string;
  let control: Repository;
  /** What the endpoint answers to each request in turn; the last one stays. */
  let answers: boolean[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'drctl-uptime-'));
    control = createRepository('local', { kind: 'local', directory: folder, prefix: '' }, shop.name);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  async function sample(over: Partial<Repository> = {}): Promise<void> {
    const endpoint = async () => {
      const ok = answers.length > 1 ? answers.shift() : answers[0];
      return { method: 'GET', url: 'http://api.shop.test/health', ok, status: ok ? 200 : 503, problem: null };
    };
    const kept = { read: control.read.bind(control), put: control.put.bind(control), ...over };
    const open = { application: shop, probe: { endpoint }, control: kept } as unknown as OpenApplication;
    const activities = createUptimeActivities({ site: 'dr', hostId: 'h1', open: () => open });
    const input = { application: shop.name, runForMilliseconds: 1, intervalMilliseconds: 10, askAgainMilliseconds: 5 };
    await inActivity(() => activities.sampleUptime(input));
  }

  async function states(): Promise<{ signs: Set<string>; problems: string[] }> {
    const day = new Date().toISOString().slice(0, 10);
    const stored = await control.read(layout.day(day, 'uptime')).catch(() => null);
    const record = stored && (JSON.parse(stored.toString('utf8')) as UptimeDay);
    const signs = new Set((record?.minutes ?? '').replaceAll('.', ''));
    return { signs, problems: Object.values(record?.problems ?? {}) };
  }

  test('what answers is up; one lost answer is none; what does not answer twice is down, with what was seen', async () => {
    answers = [true];
    await sample();
    expect((await states()).signs).toEqual(new Set('U'));
    answers = [false, true];
    await sample();
    expect((await states()).signs).toEqual(new Set('U'));
    answers = [false];
    await sample();
    const { signs, problems } = await states();
    expect(signs.has('D')).toBe(true);
    expect(problems).toEqual(['GET http://api.shop.test/health: status 503 (asked from dr)']);
  });

  test('who cannot keep what it saw does not know either that the application is down', async () => {
    const away = () => Promise.reject(failure('RepositoryUnavailable', 'nobody answers'));
    answers = [false];
    await sample({ put: away });
    expect((await states()).signs).toEqual(new Set());
  });
});
