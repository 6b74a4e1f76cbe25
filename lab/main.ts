import { parseArgs } from 'node:util';
import { labDestroy, labDown, type LabStatus, labStatus, labUp } from './lab';

const USAGE = 'usage: lab up [--kubernetes]|status|down|destroy [--name NAME] [--output json]';

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kubernetes: { type: 'boolean', default: false },
      name: { type: 'string', default: 'default' },
      output: { type: 'string', default: 'table' },
    },
  });
  const options = { name: values.name, onProgress: (line: string) => console.error(`  ${line}`) };
  if (positionals[0] === 'up')
    console.log(JSON.stringify(await labUp({ ...options, kubernetes: values.kubernetes }), null, 2));
  else if (positionals[0] === 'down') await labDown(options);
  else if (positionals[0] === 'destroy') await labDestroy(options);
  else if (positionals[0] === 'status') print(await labStatus(options), values.output === 'json');
  else throw new Error(USAGE);
}

function print(status: LabStatus, json: boolean): void {
  console.log(json ? JSON.stringify(status, null, 2) : statusTable(status));
}

/** One line a process, sites together, with what a person looks for first: state and pid. */
export function statusTable({ lab, running, processes, services }: LabStatus): string {
  if (!running) return `lab ${lab.name} is down (${lab.folder})`;
  const rows = processes.map(({ site, name, state, pid, restarts }) => [
    site,
    name,
    state,
    `${pid ?? '-'}`,
    `${restarts}`,
  ]);
  const counts = Object.entries(services).map(([site, each]) => {
    const text = each
      .map(({ name, readyReplicas, desiredReplicas }) => `${name} ${readyReplicas}/${desiredReplicas}`)
      .join(', ');
    return `services at ${site}: ${text}`;
  });
  const lines = [
    ['SITE', 'PROCESS', 'STATE', 'PID', 'RESTARTS'],
    ...rows.toSorted((a, b) => `${a[0]}`.localeCompare(`${b[0]}`)),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const table = lines.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  return [
    ...table,
    '',
    ...counts,
    `Web UI ${lab.temporal.webUi} · supervisor ${lab.supervisor.url} · state ${lab.folder}`,
  ].join('\n');
}

if (require.main === module)
  main().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  });
