import type { ActivityDeps } from '../../activities/deps';
import { createNotifyActivities, type Delivery } from '../../activities/notify';
import { afterTelling, NEVER_TOLD, newsOf, type ToldStore } from '../../core/monitoring/told';
import type { HealthReason } from '../../core/monitoring/store-view';
import type { Notification, Notifier, Severity } from '../../core/notify';
import { inActivity } from '../support/in-activity';

const DAY = 86_400;
const minute = (count: number) => new Date(Date.parse('2026-11-23T00:00:00.000Z') + count * 60_000).toISOString();
const reason = (alert: HealthReason['alert'], forSeconds: number, severity: Severity = 'critical'): HealthReason => ({
  alert,
  status: 'error',
  text: `${alert}!`,
  severity,
  forSeconds,
});

/** One check after another; answers what was told in each. */
function checks(
  rounds: readonly (readonly [number, readonly HealthReason[], (readonly string[] | null)?])[],
): string[] {
  let state: ToldStore = NEVER_TOLD;
  return rounds.map(([minutes, reasons, undelivered = []]) => {
    const { since, news } = newsOf({ store: 'orders', reasons }, state, minute(minutes), DAY);
    state = { since, last: news ? afterTelling(state, news, minute(minutes), undelivered) : state.last };
    const which = news?.reasons.map(({ alert }) => alert).join('+');
    return news
      ? `${news.what} ${news.severity} ${which}${news.channels ? ` to ${news.channels.join()}` : ''}`.trim()
      : '';
  });
}

test('a trouble is told when it has lasted its time, once; its end is told to whom it concerned', () => {
  const late = reason('backupDelayed', 600, 'warning');
  expect(
    checks([
      [0, [late]],
      [5, [late]],
      [10, [late]],
      [15, [late]],
      [20, []],
      [25, []],
    ]),
  ).toEqual(['', '', 'alarm warning backupDelayed', '', 'relief warning', '']);
});

test('one that ends before its time is never told, and begins anew when it comes back', () => {
  const late = reason('backupDelayed', 600);
  expect(
    checks([
      [0, [late]],
      [5, []],
      [10, [late]],
      [15, [late]],
    ]),
  ).toEqual(['', '', '', '']);
});

test('it is told again when it changes, and after a day', () => {
  const [gap, rpo] = [reason('logGap', 0), reason('rpoBreached', 0, 'warning')];
  expect(
    checks([
      [0, [rpo]],
      [5, [rpo, gap]],
      [10, [gap, rpo]],
      [15, [rpo]],
      [15 + 24 * 60, [rpo]],
    ]),
  ).toEqual([
    'alarm warning rpoBreached',
    'alarm critical rpoBreached+logGap',
    '',
    'alarm warning rpoBreached',
    'alarm warning rpoBreached',
  ]);
});

test('a channel that missed it is tried again alone; when nobody could be told, everybody is', () => {
  const gap = reason('logGap', 0);
  expect(
    checks([
      [0, [gap], ['mail']],
      [5, [gap], ['mail']],
      [10, [gap]],
      [15, [gap]],
    ]),
  ).toEqual(['alarm critical logGap', 'again critical logGap to mail', 'again critical logGap to mail', '']);
  expect(
    checks([
      [0, [gap], null],
      [5, [gap]],
      [10, [gap]],
    ]),
  ).toEqual(['alarm critical logGap', 'alarm critical logGap', '']);
});

describe('who is told', () => {
  const sent: string[] = [];
  beforeEach(() => void (sent.length = 0));
  const channel = (name: string, leastSeverity: Severity, fails = false): Notifier => ({
    name,
    kind: 'webhook',
    leastSeverity,
    async send({ title }) {
      if (fails) throw new Error('connection refused');
      sent.push(`${name}: ${title}`);
    },
  });
  const notifiers = [channel('chat', 'info'), channel('mail', 'warning', true), channel('pager', 'critical')];
  const deps = { open: () => ({ notifiers }) } as unknown as ActivityDeps;
  const news: Notification = {
    id: '1',
    application: 'shop',
    severity: 'warning',
    title: 't',
    lines: [],
    at: minute(0),
    fields: {},
  };
  const tell = (more: Partial<Notification> & { channels?: string[] }): Promise<Delivery[]> =>
    inActivity(() => createNotifyActivities(deps).notify({ ...news, ...more }));

  test('each channel hears of what is severe enough for it, and one that fails holds up no other', async () => {
    expect(await tell({})).toEqual([
      { channel: 'chat', delivered: true, problem: null },
      { channel: 'mail', delivered: false, problem: 'connection refused' },
    ]);
    expect((await tell({ severity: 'critical' })).map(({ channel: name }) => name)).toEqual(['chat', 'mail', 'pager']);
    expect((await tell({ severity: 'info' })).map(({ channel: name }) => name)).toEqual(['chat']);
  });

  test('who heard of a trouble hears of its end, and a second try goes to nobody else', async () => {
    await tell({ severity: 'info', concerns: 'critical', title: 'over' });
    expect(sent).toEqual(['chat: over', 'pager: over']);
    expect((await tell({ severity: 'critical', channels: ['pager'] })).map(({ channel: name }) => name)).toEqual([
      'pager',
    ]);
  });
});
