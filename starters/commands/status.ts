import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerLook } from '../../activities/servers';
import { countOf, formatDuration } from '../../core/clock';
import { failure } from '../../core/errors';
import { FAILURES } from '../../core/failure-classes';
import type { Front } from '../front';
import type { Session } from '../session';
import {
  lookAtAll,
  type Part,
  type RunningNow,
  type Safety,
  type StatusFacts,
  type StoreStatus,
  type Verdict,
  verdictOf,
} from '../status';
import { relativeTime, shortTime, tableLines } from '../table';

const WATCH_SECONDS = 5;

export function registerStatus(front: Front): void {
  front
    .command<{ watch?: string | true }>(
      front.program,
      'status',
      'one screen: are we safe? Which site is active, what could be restored, what runs',
      [
        ['drctl status', 'exit code 46 when a store is not safe'],
        ['drctl status --watch', 'again every five seconds, until Ctrl-C'],
      ],
      (session, _, { watch }) => (watch === undefined ? showOnce(session) : keepShowing(session, secondsOf(watch))),
    )
    .option('-w, --watch [seconds]', 'look again and again');
}

function secondsOf(watch: string | true): number {
  const seconds = watch === true ? WATCH_SECONDS : Number(watch);
  if (Number.isInteger(seconds) && seconds > 0) return seconds;
  throw failure('UsageInvalid', `--watch is "${watch}": write whole seconds`);
}

async function showOnce(session: Session): Promise<number> {
  const facts = await lookAtAll(session);
  const verdict = verdictOf(facts);
  session.print(documentOf(facts, verdict), () => screen(facts, verdict, session));
  return exitCodeOf(verdict);
}

/** Until Ctrl-C, which here leaves nothing undone: the exit code is that of the last look. */
async function keepShowing(session: Session, seconds: number): Promise<number> {
  const leaving = new AbortController();
  void session.io.interrupted.then(() => leaving.abort());
  for (;;) {
    const facts = await lookAtAll(session);
    const verdict = verdictOf(facts);
    if (session.output === 'json') session.io.out(JSON.stringify(documentOf(facts, verdict)));
    else {
      const lines = [
        ...screen(facts, verdict, session),
        '',
        `looked at ${shortTime(facts.at)}, again in ${seconds} s; Ctrl-C ends`,
      ];
      // Home, and clear what is below: a screen that is drawn over does not flicker.
      session.io.out(session.io.hasColour ? `\u001b[H\u001b[J${lines.join('\n')}` : [...lines, ''].join('\n'));
    }
    await sleep(seconds * 1_000, undefined, { signal: leaving.signal }).catch(() => undefined); // Ctrl-C ends it
    if (leaving.signal.aborted) return exitCodeOf(verdict);
  }
}

const exitCodeOf = ({ safety }: Verdict) => (safety === 'NOT SAFE' ? FAILURES.NotSafe.exitCode : 0);

function documentOf(
  { wantedFollowers: _wanted, counted: _counted, stores, ...facts }: StatusFacts,
  verdict: Verdict,
): object {
  const known = stores.map(([store, part]) => ('value' in part ? part.value : { store, problem: part.problem }));
  return { ...verdict, ...facts, stores: known };
}

const COLOURS: Readonly<Record<Safety, number>> = { SAFE: 32, 'LOOK AT IT': 33, 'NOT SAFE': 31 };

function screen(facts: StatusFacts, verdict: Verdict, session: Session): string[] {
  const { application, role, stores, servers, running, schedules, encryptionKeyId } = facts;
  const now = new Date(facts.at);
  const { safety, unsafe, toLookAt } = verdict;
  const said = session.io.hasColour ? `\u001b[1;${COLOURS[safety]}m${safety}\u001b[0m` : safety;
  const where = show(
    role,
    ({ activeSite, since }) => `active at ${activeSite}${since ? ` since ${shortTime(since)}` : ''}`,
  );
  return [
    `${said}: ${application}, ${where}`,
    ...unsafe.map((line) => `  ✘ ${line}`),
    ...toLookAt.map((line) => `  ! ${line}`),
    '',
    ...storeLines(stores, now),
    '',
    ...showLines(servers, 'servers', serverLines),
    ...showLines(running, 'running', (each) => runningLines(each, now)),
    ...showLines(schedules, 'schedules', (each) => {
      const next = each
        .flatMap(({ name, nextAt }) => (nextAt ? [{ name, nextAt }] : []))
        .toSorted((a, b) => a.nextAt.localeCompare(b.nextAt))[0];
      return [`${each.length} schedules${next ? `, next ${next.name} ${relativeTime(next.nextAt, now)}` : ''}`];
    }),
    encryptionKeyId === null
      ? 'encryption is off: new backups and log are stored plain'
      : `encryption is on, with the data key ${encryptionKeyId}`,
  ];
}

function storeLines(stores: StatusFacts['stores'], now: Date): string[] {
  const SIGNS = { healthy: 'ok', warning: 'look at it', error: 'NOT SAFE' } as const;
  const areCopied = stores.some(([, part]) => 'value' in part && part.value.copies.length > 0);
  const copyText = ({ copy, lagSeconds }: StoreStatus['copies'][number]) =>
    `${copy} ${lagSeconds === null ? 'never' : `until ${formatDuration(lagSeconds * 1_000)} ago`}`;
  const rows = stores.map(([store, part]) => {
    if ('problem' in part) return [store, '', 'NOT KNOWN', '', '', '', ''];
    const { engine, status, stateOf, atRiskSeconds, rpoSeconds, provenAt, copies }: StoreStatus = part.value;
    return [
      store,
      engine,
      SIGNS[status],
      stateOf ? relativeTime(stateOf, now) : 'none',
      atRiskSeconds === null ? 'unknown' : formatDuration(atRiskSeconds * 1_000),
      formatDuration(rpoSeconds * 1_000),
      provenAt ? relativeTime(provenAt, now) : 'never',
      ...(areCopied ? [copies.map(copyText).join(', ')] : []),
    ];
  });
  const titles = ['store', 'engine', 'state', 'newest backup', 'at risk', 'objective', 'proven'];
  return tableLines([...titles, ...(areCopied ? ['copied'] : [])], rows);
}

/** How many answer; what should be mended at them is among the reasons above. */
export function serverLines(servers: readonly ServerLook[]): string[] {
  const answering = servers.filter(({ reachable }) => reachable).length;
  const mend = servers.some(({ problems }) => problems.length > 0) ? '' : ', nothing to mend';
  return [`${answering} of ${servers.length} servers answer from this machine${mend}`];
}

function runningLines({ followers, others }: RunningNow, now: Date): string[] {
  const archivers = followers.filter((id) => id.startsWith('archive:')).length;
  const watch = followers.length > archivers ? ' and the watch' : '';
  return [
    `${countOf(archivers, 'archiver')}${watch} running${others.length === 0 ? ', and nothing else' : ''}`,
    ...(others.length === 0
      ? []
      : tableLines(
          ['running', 'what', 'since'],
          others.map((run) => [run.workflowId, run.type, relativeTime(run.startedAt, now)]),
        ).map((line) => `  ${line}`)),
  ];
}

const show = <T>(of: Part<T>, text: (value: T) => string) => ('value' in of ? text(of.value) : 'active site not known');
const showLines = <T>(of: Part<T>, what: string, lines: (value: T) => string[]) =>
  'value' in of ? lines(of.value) : [`${what} not known`];
