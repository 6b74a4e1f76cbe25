/** The settings of the outside systems, from the adapters that own them, under the names that the schema uses. */
export { repositorySettings } from '../adapters/repository/settings';
export { settings as serviceControllerSettings } from '../adapters/services/settings';
export { settings as bubbleSettings } from '../adapters/bubble/settings';
export { settings as zoneSettings } from '../adapters/traffic/settings';
export { settings as fenceSettings } from '../adapters/fence/settings';
export { settings as notifierSettings } from '../adapters/notify/settings';
export { settings as metricsSettings } from '../adapters/metrics/settings';
export { dataKeyId, settings as recipientSettings } from '../adapters/encryption/settings';
