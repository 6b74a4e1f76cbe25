import type { Repository } from '../../core/repository';
import { createLocalRepository } from './local';
import { createS3Repository } from './s3';
import type { LifecycleStore } from '../../core/lifecycle/rules';
import { createS3Lifecycle } from './s3-lifecycle';
import type { RepositorySettings, S3RepositorySettings } from './settings';

const prefixOf = ({ prefix }: RepositorySettings, application: string) =>
  prefix ? `${prefix}/${application}` : application;

/** The application's part of a repository: every key lies below `<prefix>/<application>/`. */
export function createRepository(name: string, settings: RepositorySettings, application: string): Repository {
  const prefix = prefixOf(settings, application);
  return settings.kind === 'local'
    ? createLocalRepository({ name, directory: settings.directory, prefix })
    : createS3Repository({ name, settings, prefix });
}

/** The rules of the bucket of such a repository. */
export function createLifecycle(name: string, settings: S3RepositorySettings, application: string): LifecycleStore {
  return createS3Lifecycle({ name, settings, prefix: prefixOf(settings, application) });
}
