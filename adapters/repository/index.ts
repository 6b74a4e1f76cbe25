import type { Repository } from '../../core/repository';
import { createLocalRepository } from './local';
import { createS3Repository } from './s3';
import type { RepositorySettings } from './settings';

/** The application's part of a repository: every key lies below `<prefix>/<application>/`. */
export function createRepository(name: string, settings: RepositorySettings, application: string): Repository {
  const prefix = settings.prefix ? `${settings.prefix}/${application}` : application;
  return settings.kind === 'local'
    ? createLocalRepository({ name, directory: settings.directory, prefix })
    : createS3Repository({ name, settings, prefix });
}
