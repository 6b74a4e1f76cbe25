import { S3ServiceException } from '@aws-sdk/client-s3';
import { failure, findFailure } from '../../core/errors';

const DENIED = new Set([
  'AccessDenied',
  'AccountProblem',
  'AllAccessDisabled',
  'ExpiredToken',
  'Forbidden',
  'InvalidAccessKeyId',
  'InvalidToken',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'CredentialsProviderError',
]);
const WRONG_REGION = new Set([
  'PermanentRedirect',
  'AuthorizationHeaderMalformed',
  'IllegalLocationConstraintException',
]);
const WRONG_REQUEST = new Set([
  'InvalidArgument',
  'InvalidBucketName',
  'InvalidRequest',
  'InvalidStorageClass',
  'MethodNotAllowed',
  'NotImplemented',
]);
const DAMAGED = new Set(['BadDigest', 'InvalidDigest', 'XAmzContentSHA256Mismatch', 'XAmzContentChecksumMismatch']);

export interface S3Place {
  readonly name: string;
  readonly bucket: string;
  readonly location: string;
  readonly region: string;
  readonly endpoint: string;
}

/** Turns what the SDK throws into the errors of `core/errors.ts`; what is one of them already stays. */
export function s3Failure(error: unknown, action: string, place: S3Place): unknown {
  if (findFailure(error) || isAbort(error) || isOfLocalFile(error)) return error;
  const { name: code, message } = error as Error;
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  const what = `${action} in ${place.location} (repository "${place.name}")`;
  const options = { cause: error, context: { repository: place.name, code, status: status ?? null } };

  if (code === 'NoSuchBucket') {
    const next = `Create the bucket "${place.bucket}" or correct repositories.${place.name}.bucket in the config.`;
    return failure('ConfigInvalid', `${what}: there is no bucket "${place.bucket}" at ${place.endpoint}`, {
      ...options,
      next,
    });
  }
  if (WRONG_REGION.has(code) || status === 301) {
    const next = `Correct repositories.${place.name}.region in the config.`;
    return failure('ConfigInvalid', `${what}: the bucket is not in region ${place.region}: ${message}`, {
      ...options,
      next,
    });
  }
  // Its status is 403, which is said below of other reasons.
  if (code === 'InvalidObjectState') {
    return failure('ObjectFrozen', `${what}: it lies in an archive class and has to be asked back first`, options);
  }
  if (DENIED.has(code) || status === 401 || status === 403) {
    return failure('AccessDenied', `${what}: ${place.endpoint} refused: ${code}: ${message}`, options);
  }
  if (DAMAGED.has(code)) {
    const data = 'The object was not stored; what was to be stored is unharmed unless this comes again.';
    return failure('BackupCorrupt', `${what}: the bytes that arrived differ from their checksum (${code})`, {
      ...options,
      data,
    });
  }
  if (['NoSuchKey', 'NotFound', 'NoSuchUpload'].includes(code) || status === 404) {
    return failure('NotFound', `${what}: there is no such object (${code})`, options);
  }
  if (WRONG_REQUEST.has(code)) {
    const next = `Check repositories.${place.name} in the config against what ${place.endpoint} supports.`;
    return failure('ConfigInvalid', `${what}: ${place.endpoint} does not accept the request: ${code}: ${message}`, {
      ...options,
      next,
    });
  }
  // Network, throttling, 5xx, and what is not known: worth another try.
  return failure(
    'RepositoryUnavailable',
    `${what}: ${place.endpoint} did not answer as it should: ${code}: ${messageOf(error)}`,
    options,
  );
}

export function codeOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

/** Another conditional write of the same key was going on; neither may have been done. */
export function isConflict(error: unknown): boolean {
  return codeOf(error) === 'ConditionalRequestConflict' || statusOf(error) === 409;
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** The file that was to be uploaded, not the repository, has the problem. */
function isOfLocalFile(error: unknown): boolean {
  return ['open', 'stat', 'read'].includes((error as NodeJS.ErrnoException).syscall ?? '');
}

/** Node reports a refused connection to several addresses as an AggregateError with an empty message. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map((each: Error) => each.message).join('; ');
  return (error as Error).message;
}
