import { configJsonSchema } from '../../config/json-schema';
import { secretReferences } from '../../config/secret-input';
import { reasonOf } from '../../core/errors';
import type { Front } from '../front';

export function registerConfig(front: Front): void {
  const group = front.group('config', 'check the configuration, print its JSON Schema');

  front
    .command<{ secrets?: boolean }>(
      group,
      'check',
      'validate the config and say what is in it',
      [
        ['drctl config check', 'is ./drctl.yaml right?'],
        ['drctl config check --secrets', 'can this machine read every secret that it points to?'],
      ],
      async (session, _, { secrets }) => {
        const { config } = session;
        const unreadable = secrets ? secretReferences(config).flatMap(whyUnreadable) : [];
        const summary = {
          file: config.file,
          application: config.application,
          sites: Object.keys(config.sites),
          stores: Object.entries(config.stores).map(([store, { engine }]) => `${store} (${engine})`),
          repositories: Object.entries(config.repositories).map(([name, { kind }]) => `${name} (${kind})`),
          schedules: Object.keys(config.schedules.runs),
          encryption: {
            key: config.encryption?.key ?? null,
            recipients: Object.entries(config.encryption?.recipients ?? {}).map(
              ([name, { kind }]) => `${name} (${kind})`,
            ),
          },
          unreadableSecrets: unreadable,
        };
        session.print(summary, () => [
          `${config.file} is right.`,
          `  application   ${summary.application}`,
          `  sites         ${summary.sites.join(', ')}`,
          `  stores        ${summary.stores.join(', ')}`,
          `  repositories  ${summary.repositories.join(', ')}`,
          `  schedules     ${summary.schedules.join(', ')}`,
          `  encryption    ${encryptionText(summary.encryption)}`,
          ...(secrets
            ? [
                `  secrets       ${unreadable.length === 0 ? 'all can be read here' : `${unreadable.length} cannot be read here:`}`,
              ]
            : []),
          ...unreadable.map((why) => `    ${why}`),
        ]);
        return unreadable.length > 0 ? 2 : 0;
      },
    )
    .option('--secrets', 'also read every secret (values are never shown)');

  front.command(
    group,
    'schema',
    'print the JSON Schema of the config, for editors',
    [['drctl config schema > drctl.schema.json', 'completion and checks in an editor']],
    async ({ io }) => io.out(JSON.stringify(configJsonSchema(), null, 2)),
  );
}

function encryptionText({ key, recipients }: { readonly key: string | null; readonly recipients: readonly string[] }) {
  const who = recipients.length === 0 ? '' : `, recipients ${recipients.join(', ')}`;
  return key === null ? `off: new backups and log are stored plain${who}` : `on, with the data key ${key}${who}`;
}

function whyUnreadable(secret: { reveal(): string }): string[] {
  try {
    secret.reveal();
    return [];
  } catch (error) {
    return [reasonOf(error)];
  }
}
