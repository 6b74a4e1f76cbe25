import { networkReason } from '../http/json-request';

export interface AwsProblem {
  readonly kind: 'denied' | 'missing' | 'busy' | 'refused';
  /** `InvalidChangeBatch: …`, or the network's reason. */
  readonly reason: string;
}

const DENIED = [
  'AccessDenied',
  'AccessDeniedException',
  'AuthorizationError',
  'AuthFailure',
  'CredentialsProviderError',
  'ExpiredToken',
  'ExpiredTokenException',
  'IncompleteSignature',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'MissingAuthenticationToken',
  'OptInRequired',
  'SignatureDoesNotMatch',
  'UnrecognizedClientException',
];
const MISSING = ['NoSuchHostedZone', 'NoSuchChange', 'NotFound', 'NotFoundException', 'ResourceNotFoundException'];
/** Said with status 400, and still passing: https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html */
const BUSY = [
  'PriorRequestNotComplete',
  'RequestExpired',
  'RequestLimitExceeded',
  'RequestThrottled',
  'SlowDown',
  'Throttled',
  'ThrottledException',
  'Throttling',
  'ThrottlingException',
  'TooManyRequestsException',
];

/** Sorts what an AWS client threw by what a person can do about it. */
export function awsProblem(error: unknown): AwsProblem {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  const reason = status === undefined ? networkReason(error) : `${name}: ${(error as Error).message}`;
  const named = (names: readonly string[]) => name !== undefined && names.includes(name);
  if (named(DENIED)) return { kind: 'denied', reason };
  if (named(MISSING)) return { kind: 'missing', reason };
  if (status === undefined || status >= 500 || status === 429 || named(BUSY)) return { kind: 'busy', reason };
  return { kind: status === 403 || status === 401 ? 'denied' : status === 404 ? 'missing' : 'refused', reason };
}
