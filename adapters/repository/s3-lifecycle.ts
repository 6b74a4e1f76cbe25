import {
  DeleteBucketLifecycleCommand,
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule as S3Rule,
  PutBucketLifecycleConfigurationCommand,
  type TransitionDefaultMinimumObjectSize,
} from '@aws-sdk/client-s3';
import { failure } from '../../core/errors';
import {
  type BucketLifecycle,
  isOurs,
  type LifecycleRule,
  type LifecycleStore,
  sameRule,
} from '../../core/lifecycle/rules';
import { openBucket, type S3Options } from './s3-bucket';
import { codeOf } from './s3-errors';

interface Found {
  readonly rules: readonly S3Rule[];
  readonly smallObjects: TransitionDefaultMinimumObjectSize | undefined;
}

/** The lifecycle rules of a repository's bucket. Connects to nothing yet. */
export function createS3Lifecycle(options: S3Options): LifecycleStore {
  const { client, bucket, place, mapped } = openBucket(options);
  const root = `${options.prefix}/`;

  function get(): Promise<Found> {
    return mapped('reading the lifecycle rules', async () => {
      try {
        const found = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }));
        return { rules: found.Rules ?? [], smallObjects: found.TransitionDefaultMinimumObjectSize };
      } catch (error) {
        if (codeOf(error) === 'NoSuchLifecycleConfiguration') return { rules: [], smallObjects: undefined };
        throw error;
      }
    });
  }

  async function put(Rules: S3Rule[], smallObjects: Found['smallObjects']): Promise<void> {
    await mapped('changing the lifecycle rules', async () => {
      if (Rules.length === 0) return client.send(new DeleteBucketLifecycleCommand({ Bucket: bucket }));
      return client.send(
        new PutBucketLifecycleConfigurationCommand({
          Bucket: bucket,
          LifecycleConfiguration: { Rules },
          // Left out it would become the default again, for the rules of others as well.
          ...(smallObjects ? { TransitionDefaultMinimumObjectSize: smallObjects } : {}),
        }),
      );
    });
  }

  const described = ({ rules, smallObjects }: Found): BucketLifecycle => ({
    rules: rules.map(readRule),
    smallObjectsMove: smallObjects === 'varies_by_storage_class',
  });

  return {
    root,

    read: async () => described(await get()),

    async write(ours) {
      const before = await get();
      const others = before.rules.filter((rule) => !isOurs(root, { id: rule.ID ?? '' }));
      await put([...others, ...ours.map(writtenRule)], before.smallObjects);
      const after = described(await get());
      const missing = ours.find((rule) => !after.rules.some((each) => sameRule(each, rule)));
      if (missing) {
        throw failure(
          'ConfigInvalid',
          `${place.location} answers other rules than it was given: ${missing.id} differs`,
          {
            data: 'The rules of others were sent back as they were; no object was touched.',
            next: `${place.endpoint} does not know all that the rules ask for. See what it has: drctl lifecycle show.`,
          },
        );
      }
      return after;
    },
  };
}

const KNOWN = new Set([
  'ID',
  'Status',
  'Prefix',
  'Filter',
  'Transitions',
  'Expiration',
  'AbortIncompleteMultipartUpload',
]);

function readRule(rule: S3Rule): LifecycleRule {
  const { Filter = {}, Expiration } = rule;
  const tags = [...(Filter.Tag ? [Filter.Tag] : []), ...(Filter.And?.Tags ?? [])];
  const daysOf = (days: number | undefined) => days ?? null;
  return {
    id: rule.ID ?? '',
    isEnabled: rule.Status === 'Enabled',
    prefix: Filter.And?.Prefix ?? Filter.Prefix ?? rule.Prefix ?? '',
    largerThanBytes: Filter.And?.ObjectSizeGreaterThan ?? Filter.ObjectSizeGreaterThan ?? null,
    isByTag: tags.length > 0,
    moves: (rule.Transitions ?? []).map(({ Days, StorageClass }) => ({
      days: daysOf(Days),
      storageClass: StorageClass ?? '',
    })),
    // Of versions that are gone already there is nothing to lose.
    expires: Expiration?.Days || Expiration?.Date ? { days: daysOf(Expiration.Days) } : null,
    abortUploadsDays: daysOf(rule.AbortIncompleteMultipartUpload?.DaysAfterInitiation),
    others: [
      ...Object.keys(rule).filter((key) => !KNOWN.has(key) && rule[key as keyof S3Rule] !== undefined),
      ...(Expiration?.ExpiredObjectDeleteMarker ? ['ExpiredObjectDeleteMarker'] : []),
    ],
  };
}

function writtenRule({ id, prefix, largerThanBytes, moves, expires, abortUploadsDays }: LifecycleRule): S3Rule {
  return {
    ID: id,
    Status: 'Enabled',
    Filter:
      largerThanBytes === null
        ? { Prefix: prefix }
        : { And: { Prefix: prefix, ObjectSizeGreaterThan: largerThanBytes } },
    ...(moves.length > 0
      ? {
          Transitions: moves.map(({ days, storageClass }) => ({
            Days: days ?? 0,
            StorageClass: storageClass as 'GLACIER',
          })),
        }
      : {}),
    ...(expires ? { Expiration: { Days: expires.days ?? 0 } } : {}),
    ...(abortUploadsDays === null ? {} : { AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortUploadsDays } }),
  };
}
