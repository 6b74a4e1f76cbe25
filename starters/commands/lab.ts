import { join } from 'node:path';
import { Option } from 'commander';
import { parseDurationMilliseconds } from '../../core/clock';
import type { Front } from '../front';
import type { Session } from '../session';

/**
 * `drctl lab …`: the two-site environment of real servers on this machine. Nothing else in starters/ knows the lab; it is
 * loaded by `require` when one of these commands runs, so that an installation without lab/ only lacks these commands.
 */
function lab(): typeof import('../../lab/lab') {
  // oxlint-disable-next-line no-restricted-imports -- the one door from the front to the lab
  return require('../../lab/lab') as typeof import('../../lab/lab');
}

interface Options {
  name: string;
}

const nameOption = () => new Option('--name <name>', 'which lab').default('default');

export function registerLab(front: Front): void {
  const group = front.group('lab', 'two sites of real servers on this machine, to try everything on');
  const named = (session: Session, { name }: Options) => ({
    name,
    onProgress: (line: string) => session.io.note(`  ${line}`),
  });

  front
    .command<Options & { dnsDelay?: string; kubernetes?: boolean }>(
      group,
      'up',
      'start the lab, new or as it was left',
      [
        ['drctl lab up', 'then see `drctl lab status`'],
        ['drctl lab up --name k8s --kubernetes', 'its services as Deployments, with a real API server at each site'],
        ['drctl lab up --dns-delay 5s,20s', 'name servers that take that long to see a change'],
      ],
      async (session, _, { dnsDelay, kubernetes = false, ...options }) => {
        const dnsDelaysMs = dnsDelay?.split(',').map(parseDurationMilliseconds);
        const up = await lab().labUp({
          ...named(session, options),
          kubernetes,
          ...(dnsDelaysMs ? { dnsDelaysMs } : {}),
        });
        session.print(up, () => [
          `The lab ${up.name} is up: Web UI ${up.temporal.webUi}, state in ${up.folder}.`,
          `See it with: drctl lab status${up.name === 'default' ? '' : ` --name ${up.name}`}`,
          `Use it with: export DRCTL_CONFIG=${join(up.folder, 'ultramarket.yaml')}`,
          ...(up.kubernetes
            ? [
                `Its clusters: kubectl --kubeconfig ${join(up.folder, '<site>/kubernetes/admin.kubeconfig')} get pods -A`,
              ]
            : []),
        ]);
      },
    )
    .option('--kubernetes', 'a new lab: run its services in a Kubernetes cluster of each site (needs Go, once)')
    .option('--dns-delay <delays>', 'how long each of its two name servers goes on with the old zone after a change')
    .addOption(nameOption());

  front
    .command<Options>(group, 'status', 'its processes and services', [], async (session, _, { name }) => {
      const { statusTable } = require('../../lab/main') as typeof import('../../lab/main');
      const status = await lab().labStatus({ name });
      session.print(status, () => [statusTable(status)]);
    })
    .addOption(nameOption());

  front
    .command<Options>(group, 'down', 'stop every process of the lab; its data stay', [], (session, _, options) =>
      lab().labDown(named(session, options)),
    )
    .addOption(nameOption());

  front
    .command<Options>(group, 'destroy', 'stop the lab and remove its data', [], (session, _, options) =>
      lab().labDestroy(named(session, options)),
    )
    .addOption(nameOption());

  front
    .command<Options>(
      group,
      'kill-site <site>',
      'SIGKILL everything of a site at once, as if its power failed',
      [['drctl lab kill-site primary', 'then: drctl failover start --to dr --reason "primary is dead"']],
      async (session, [site = ''], { name }) => {
        const { lab: described } = await lab().labStatus({ name });
        await lab().supervisorOf(described).killSite(site);
        session.print({ killed: site }, () => [`Everything at ${site} was killed.`]);
      },
    )
    .addOption(nameOption());
}
