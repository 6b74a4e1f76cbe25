import { Option } from 'commander';
import type { Front } from '../front';
import { measureLoss } from '../measure-loss';
import { detachOption, limitOption } from '../options';
import { makeReadinessReport } from '../readiness-report';
import { listReports, openReport, REPORT_FORMATS, type ReportFormat, reportLines, showReport } from '../reports';

export function registerReport(front: Front): void {
  const group = front.group('report', 'reports of past runs, and on months');
  front
    .command<{ limit: string }>(
      group,
      'list',
      'the reports, newest first',
      [['drctl report list', 'what ran, how it ended, and the ids']],
      async (session, _, { limit }) => {
        const reports = await listReports(session, Number(limit));
        session.print(reports, () => reportLines(reports, session.io.now()));
      },
    )
    .addOption(limitOption('how many'));
  front
    .command<{ format?: ReportFormat; to?: string }>(
      group,
      'show [id]',
      'one report, the newest where none is named',
      [
        ['drctl report show', 'as Markdown; --output json for machines'],
        ['drctl report show --format html --to report.html', 'the page, to be sent to somebody'],
      ],
      (session, [id], { format, to }) => showReport(session, { id: id ?? null, format, file: to }),
    )
    .addOption(new Option('--format <format>', 'markdown where it is left out').choices(REPORT_FORMATS))
    .option('--to <file>', 'write it there instead of printing it; a file that is there is not overwritten');
  front.command(
    group,
    'open [id]',
    'the page of a report in the browser; where there is no desktop its path is printed',
    [['drctl report open', 'the newest one']],
    (session, [id]) => openReport(session, id ?? null),
  );
  front
    .command<{ detach?: boolean }>(
      group,
      'readiness [month]',
      'make the report on a month, the one that goes on where none is named: promised against measured, open risks',
      [
        ['drctl report readiness', 'this month so far'],
        ['drctl report readiness 2026-10', 'a whole month; one that was made before is replaced'],
      ],
      (session, [month], { detach }) => makeReadinessReport(session, month ?? null, { detach: detach ?? false }),
    )
    .addOption(detachOption());
  front.command(
    group,
    'measure [id]',
    'read what a failover has really lost, once its old primaries can be read again, and add it to the report',
    [['drctl report measure', 'the newest failover; the old site stays fenced, nothing is changed there']],
    (session, [id]) => measureLoss(session, id ?? null),
  );
}
