import { failure } from '../core/errors';
import { layout } from '../core/layout';
import type { StoredObject } from '../core/repository';
import type { Session } from './session';
import { relativeTime, shortTime, tableLines } from './table';

const REPORT = /([^/]+)\.json$/;

/** Reports of past runs, newest first. */
export async function listReports(session: Session): Promise<{ readonly id: string; readonly storedAt: string }[]> {
  const { control } = await session.open();
  const found: StoredObject[] = [];
  for await (const object of control.list(layout.reports())) if (REPORT.test(object.key)) found.push(object);
  return found
    .toSorted((a, b) => b.modifiedAt.localeCompare(a.modifiedAt))
    .map(({ key, modifiedAt }) => ({ id: REPORT.exec(key)?.[1] ?? key, storedAt: modifiedAt }));
}

export function reportLines(reports: Awaited<ReturnType<typeof listReports>>, now: Date): string[] {
  if (reports.length === 0) return ['There are no reports yet.'];
  return tableLines(
    ['report', 'stored', 'age'],
    reports.map(({ id, storedAt }) => [id, shortTime(storedAt), relativeTime(storedAt, now)]),
  );
}

/** Prints a report: its Markdown for a person, its JSON for a script. Null: the newest one. */
export async function showReport(session: Session, id: string | null): Promise<void> {
  const reports = await listReports(session);
  const chosen = id === null ? reports[0] : reports.find((each) => each.id === id);
  if (!chosen)
    throw failure('NotFound', id === null ? 'there are no reports yet' : `there is no report "${id}"`, {
      next: 'See `drctl report list`.',
    });
  const { control } = await session.open();
  const read = async (extension: 'json' | 'md') =>
    (await control.read(layout.report(chosen.id, extension))).toString('utf8').trimEnd();
  session.io.out(await read(session.output === 'json' ? 'json' : 'md'));
}
