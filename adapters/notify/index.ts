import type { Notifier } from '../../core/notify';
import type { NotifierSettings } from './settings';
import { createSlackNotifier } from './slack';
import { createSmtpNotifier } from './smtp';
import { createSnsNotifier } from './sns';
import { createWebhookNotifier } from './webhook';

/** One notifier a channel of the config, under the name it has there. Connects to nothing yet. */
export function createNotifiers(channels: Readonly<Record<string, NotifierSettings>>): Notifier[] {
  return Object.entries(channels).map(([name, settings]) => createNotifier(name, settings));
}

function createNotifier(name: string, settings: NotifierSettings): Notifier {
  if (settings.kind === 'sns') return createSnsNotifier(name, settings);
  if (settings.kind === 'slack') return createSlackNotifier(name, settings);
  if (settings.kind === 'webhook') return createWebhookNotifier(name, settings);
  return createSmtpNotifier(name, settings);
}
