import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Command } from 'commander';
import { commandLine } from '../../starters/main';
import { recordingIo } from '../support/recording-io';

/** The documents say what there is: links lead somewhere, commands are accepted by the real command line, scripts exist. */
const ROOT = path.resolve(__dirname, '../..');
const DOCUMENTS = ['README.md', ...fs.readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`)].filter(
  (name) => name.endsWith('.md'),
);
const README_LINES = 130;

const read = (name: string) => fs.readFileSync(path.join(ROOT, name), 'utf8');
const fenced = (text: string) => [...text.matchAll(/^```\w*\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? '');
const withoutFenced = (text: string) => text.replaceAll(/^```\w*\n[\s\S]*?^```$/gm, '');

/** As a shell does, for what documents write: words, quoted words, and an end at `#` or `|`. */
function words(line: string): string[] {
  const found: string[] = [];
  for (const [word, double, single] of line.matchAll(/"([^"]*)"|'([^']*)'|\S+/g)) {
    if (word === '#' || word === '|') break;
    found.push(double ?? single ?? word);
  }
  return found;
}

/** What stands for several things, or for one to be filled in, is no command line. */
const isWhole = (line: string) => !/[<>…|\\]|\[/.test(line);

function commandLines(text: string): string[] {
  const inBlocks = fenced(text).flatMap((code) => code.split('\n').map((line) => line.replace(/^\$ /, '').trim()));
  const inText = [...withoutFenced(text).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code ?? '');
  return [...inBlocks, ...inText].filter((line) => /^(\.\/)?drctl\s/.test(line) && isWhole(line));
}

/** The real command line with nothing behind it: answers the command that would have run, or throws what a person would see. */
async function accepted(argv: readonly string[]): Promise<string> {
  const io = recordingIo();
  const { program } = commandLine(io);
  let ran = '';
  const disarm = (command: Command, name: string) => {
    for (const child of command.commands) disarm(child, `${name} ${child.name()}`.trim());
    if (command.commands.length === 0) command.action(() => void (ran = name));
  };
  disarm(program, '');
  try {
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    throw new Error(`${argv.join(' ')}: ${io.text() || String(error)}`, { cause: error });
  }
  return ran;
}

test(`the README is read in one go: ${README_LINES} lines at most`, () => {
  expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(README_LINES);
});

describe.each(DOCUMENTS)('%s', (name) => {
  const text = read(name);

  test('every link to a file of the project leads somewhere', () => {
    const targets = [...withoutFenced(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target ?? '');
    const files = targets.filter((target) => !/^[a-z]+:/.test(target)).map((target) => target.replace(/#.*/, ''));
    const missing = files.filter((file) => file !== '' && !fs.existsSync(path.join(ROOT, path.dirname(name), file)));
    expect(missing).toEqual([]);
  });

  test('every drctl command is one', async () => {
    const refused: string[] = [];
    for (const line of new Set(commandLines(text))) {
      await accepted(words(line).slice(1)).catch((error: Error) => refused.push(error.message));
    }
    expect(refused).toEqual([]);
  });

  test('every npm script exists', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm (?:run ([\w:-]+)|(test)\b)/g)].map(([, run, plain]) => run ?? plain ?? '');
    expect(named.filter((script) => !Object.hasOwn(scripts, script))).toEqual([]);
  });
});

test('a command that does not exist is found', async () => {
  expect(commandLines('say `drctl bakup --all` or\n\n```\n$ ./drctl status --fast\n```')).toEqual([
    './drctl status --fast',
    'drctl bakup --all',
  ]);
  await expect(accepted(['bakup', '--all'])).rejects.toThrow(/Did you mean backup/);
  await expect(accepted(['status', '--fast'])).rejects.toThrow(/unknown option/);
  await expect(accepted(words('restore orders-db --to "10 minutes ago" --into /x'))).resolves.toBe('restore');
});

test('the table of commands in docs/cli.md names real ones', () => {
  const { program } = commandLine(recordingIo());
  const rows = [...read('docs/cli.md').matchAll(/^\| `([a-z]+)[ `]/gm)].map(([, noun]) => noun);
  const nouns = program.commands.map((command) => command.name());
  expect(rows.filter((noun) => !nouns.includes(noun ?? ''))).toEqual([]);
  expect(rows.length).toBeGreaterThan(10);
});

describe('docs/strategy.md', () => {
  const text = read('docs/strategy.md');
  const rows = text.split('\n').filter((line) => line.startsWith('| ') && !/^\| (it says|-)/.test(line));
  const cells = (row: string) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim());

  test('every row says what was asked, what was wrong, what does it now, and names a test that is there', () => {
    expect(rows.length).toBeGreaterThan(80);
    const bad = rows.filter((row) => {
      const [asked, wrong, now, proof, ...more] = cells(row);
      const tests = [...(proof ?? '').matchAll(/`(test\/[^`]+)`/g)].map(([, file]) => file ?? '');
      const complete = asked && wrong && now && more.length === 0 && tests.length > 0;
      return !complete || !tests.every((file) => fs.existsSync(path.join(ROOT, file)));
    });
    expect(bad).toEqual([]);
  });

  test('every file that does it now is there', () => {
    const named = [...text.matchAll(/`((?:core|workflows|activities|deploy|config|test)\/[\w./-]+)`/g)].map(
      ([, file]) => file ?? '',
    );
    expect(named.length).toBeGreaterThan(80);
    expect([...new Set(named)].filter((file) => !fs.existsSync(path.join(ROOT, file)))).toEqual([]);
  });

  test('every chapter of the strategy is there', () => {
    const headings = [...text.matchAll(/^###? (.+)$/gm)].map(([, heading]) => heading);
    expect(headings).toEqual([
      ...['Business Continuity Objectives', 'Backup Architecture Overview'],
      ...['PostgreSQL', 'Continuous WAL Archiving', 'Base Backup Script', 'Point-in-Time Recovery Setup'],
      ...['MongoDB', 'Replica Set Backup', 'Oplog Backup for Point-in-Time Recovery', 'Redis'],
      ...['Files and configuration', 'Application Files & Assets', 'Configuration Backup'],
      ...['Automated Backup Scheduling', 'Kubernetes CronJob Configuration', 'Backup Monitoring Script'],
      ...[
        'Disaster Recovery Procedures',
        'DR Site Architecture',
        'Failover Automation Script',
        'Recovery Testing Schedule',
      ],
      ...['Backup & Recovery Monitoring', 'Backup Dashboard Metrics', 'Alerting Rules'],
      ...['Backup Retention Policy', 'Retention Schedule', 'S3 Lifecycle Configuration'],
      ...['Recovery Testing Procedures', 'Monthly DR Test Plan', 'Recovery Time Validation', 'Backup & DR Checklist'],
    ]);
  });
});
