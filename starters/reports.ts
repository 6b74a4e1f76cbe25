import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Json } from '../core/catalog';
import { failure } from '../core/errors';
import { layout } from '../core/layout';
import { plainText } from '../core/report/plain-text';
import { readReport, type RunReport } from '../core/report/run-report';
import type { StoredObject } from '../core/repository';
import { openOnDesktop } from './desktop';
import type { Session } from './session';
import { relativeTime, shortTime, tableLines } from './table';

const REPORT = /([^/]+)\.json$/;

/** What the forms of a report are called in the repository. */
const EXTENSIONS = { markdown: 'md', html: 'html', json: 'json' } as const;
export type ReportFormat = keyof typeof EXTENSIONS;
export const REPORT_FORMATS = Object.keys(EXTENSIONS) as ReportFormat[];

/** What the reports of runs and those on months have in common. */
type ListedHead = Pick<RunReport, 'outcome' | 'verdict' | 'move' | 'requestedBy' | 'startedAt'> & {
  readonly kind: RunReport['kind'] | 'readiness';
};

export interface ListedReport {
  readonly id: string;
  readonly storedAt: string;
  /** Null for a report that this version cannot read: it is shown by its id all the same. */
  readonly report: ListedHead | null;
}

/** Ids of the reports of past runs, newest first. */
async function reportIds(session: Session, prefix = ''): Promise<{ readonly id: string; readonly storedAt: string }[]> {
  const { control } = await session.open();
  const found: StoredObject[] = [];
  for await (const object of control.list(`${layout.reports()}${prefix}`))
    if (REPORT.test(object.key)) found.push(object);
  return found
    .toSorted((a, b) => b.modifiedAt.localeCompare(a.modifiedAt) || b.key.localeCompare(a.key))
    .map(({ key, modifiedAt }) => ({ id: REPORT.exec(key)?.[1] ?? key, storedAt: modifiedAt }));
}

/** Reports of past runs, newest first; those of one kind where it is named. */
export async function listReports(session: Session, limit: number, of?: RunReport['kind']): Promise<ListedReport[]> {
  const { control } = await session.open();
  return Promise.all(
    (await reportIds(session, of ? `${of}-` : '')).slice(0, limit).map(async ({ id, storedAt }) => {
      const report = parsed((await control.read(layout.report(id, 'json'))).toString('utf8'));
      if (!report) return { id, storedAt, report };
      const { kind, outcome, verdict, move, requestedBy, startedAt } = report;
      return { id, storedAt, report: { kind, outcome, verdict, move, requestedBy, startedAt } };
    }),
  );
}

/** Null for what is no report of this version: one that cannot be read must not hide the others. */
export function parsed(text: string): RunReport | null {
  try {
    return readReport(JSON.parse(text) as Json);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export function reportLines(reports: readonly ListedReport[], now: Date): string[] {
  if (reports.length === 0) return ['There are no reports yet.'];
  return tableLines(
    ['report', 'outcome', 'move', 'asked for by', 'stored', 'age'],
    reports.map(({ id, storedAt, report }) => [
      id,
      report ? `${report.outcome}${report.verdict === 'attention' ? ' (look at it)' : ''}` : 'cannot be read',
      report?.move ? `${report.move.from} → ${report.move.to}` : '-',
      plainText(report?.requestedBy ?? '-'),
      shortTime(storedAt),
      relativeTime(storedAt, now),
    ]),
  );
}

export interface ShowRequest {
  /** Null: the newest one. */
  readonly id: string | null;
  /** Only reports of this kind count where none is named. */
  readonly kind?: RunReport['kind'];
  readonly format?: ReportFormat | undefined;
  /** Written there instead of being printed. */
  readonly file?: string | undefined;
}

/** Prints a report as it is stored (Markdown for a person, JSON for a script), or writes it to a file. */
export async function showReport(session: Session, { id, kind, format, file }: ShowRequest): Promise<void> {
  const chosen = await choose(session, id, kind);
  const stored = await readStored(session, chosen, format ?? (session.output === 'json' ? 'json' : 'markdown'));
  if (file === undefined) return session.io.out(stored.toString('utf8').trimEnd());
  const path = resolve(file);
  await writeNew(path, stored);
  session.print({ id: chosen, file: path }, () => [`${chosen} is in ${path}`]);
}

/** Shows the page of a report in the browser where there is a desktop; prints where the page is, in any case. */
export async function openReport(session: Session, id: string | null): Promise<void> {
  const chosen = await choose(session, id);
  const page = await readStored(session, chosen, 'html');
  const file = join(await mkdtemp(join(tmpdir(), 'drctl-report-')), `${chosen}.html`);
  await writeFile(file, page, { mode: 0o600 });
  const shown = await openOnDesktop(file, session.io.env);
  session.print({ id: chosen, file, shown }, () => [file]);
  if (!shown) session.io.note('There is no desktop here: open this file in a browser.');
}

export async function choose(session: Session, id: string | null, kind?: RunReport['kind']): Promise<string> {
  const reports = await reportIds(session, id === null && kind ? `${kind}-` : '');
  const chosen = id === null ? reports[0] : reports.find((each) => each.id === id);
  if (chosen) return chosen.id;
  throw failure(
    'NotFound',
    id === null ? `there are no reports${kind ? ` of a ${kind}` : ''} yet` : `there is no report "${id}"`,
    {
      next: 'See `drctl report list`.',
    },
  );
}

export async function readStored(session: Session, id: string, format: ReportFormat): Promise<Buffer> {
  const { control } = await session.open();
  return control.read(layout.report(id, EXTENSIONS[format]));
}

/** A file that is there already is left as it is, unless it is this report. */
async function writeNew(file: string, content: Buffer): Promise<void> {
  try {
    await writeFile(file, content, { flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw failure('UsageInvalid', `${file} cannot be written: ${(error as Error).message}`, { cause: error });
    }
    if (!(await readFile(file)).equals(content)) {
      throw failure('UsageInvalid', `${file} exists already and is not this report`, {
        next: 'Choose another file, or remove that one.',
      });
    }
  }
}
