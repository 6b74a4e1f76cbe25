import type { Front } from '../front';
import { listReports, reportLines, showReport } from '../reports';

export function registerReport(front: Front): void {
  const group = front.group('report', 'reports of past runs');
  front.command(group, 'list', 'every report, newest first', [['drctl report list', 'their ids']], async (session) => {
    const reports = await listReports(session);
    session.print(reports, () => reportLines(reports, session.io.now()));
  });
  front.command(
    group,
    'show [id]',
    'one report, the newest where none is named',
    [['drctl report show > report.md', 'as Markdown; --output json for machines']],
    (session, [id]) => showReport(session, id ?? null),
  );
}
