import { failure } from '../../core/errors';
import type { AwsAccess } from './settings';

/**
 * Options for every AWS client. The SDK tries once: Temporal repeats, visibly and with the policy of the step. Keys are
 * revealed when a request is signed, so a rotated key is taken up.
 */
export function awsClientOptions(access: AwsAccess, what: string) {
  const { region, endpoint, accessKeyId, secretAccessKey } = access;
  if ((accessKeyId === undefined) !== (secretAccessKey === undefined)) {
    throw failure('ConfigInvalid', `${what}: accessKeyId and secretAccessKey are given together or not at all`);
  }
  const credentials =
    accessKeyId && secretAccessKey
      ? async () => ({ accessKeyId: accessKeyId.reveal(), secretAccessKey: secretAccessKey.reveal() })
      : undefined;
  return {
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: 1,
  };
}
