import { RETENTION_KINDS, type RetentionPolicy, type RetentionSettings } from '../core/retention/policy';
import type { Config } from './schema';

/** How long things are kept, in seconds; null: for ever. */
export function toRetention({ retention }: Config): RetentionSettings {
  const policy = Object.fromEntries(
    RETENTION_KINDS.map((kind) => {
      const { local, cloud, archive } = retention[kind];
      return [kind, { local: local.seconds, cloud: cloud.seconds, archive: archive.seconds }];
    }),
  ) as RetentionPolicy;
  return {
    policy,
    graceSeconds: retention.grace.seconds,
    maxDeleteShare: retention.maxDeleteShare,
    orphansAfterSeconds: retention.orphansAfter.seconds,
  };
}
