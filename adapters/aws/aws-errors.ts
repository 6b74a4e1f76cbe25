import { networkReason } from '../http/json-request';

/** What an AWS call failed with, sorted by what a person can do about it. */
export class AwsProblem extends Error {
  override readonly name = 'AwsProblem';
  readonly kind: 'denied' | 'missing' | 'busy' | 'refused';

  /** `message`: `InvalidChangeBatch: …`, or the network's reason. */
  constructor(kind: AwsProblem['kind'], message: string, cause: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/**
 * One call under a deadline that covers connecting, sending and the whole answer.
 * Throws AwsProblem, or the signal's reason when the caller cancelled.
 */
export async function callAws<T>(
  { timeoutSeconds }: { readonly timeoutSeconds: number },
  signal: AbortSignal,
  send: (options: { readonly abortSignal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(timeoutSeconds * 1_000);
  try {
    return await send({ abortSignal: AbortSignal.any([signal, deadline]) });
  } catch (cause) {
    signal.throwIfAborted();
    throw deadline.aborted ? new AwsProblem('busy', `no answer within ${timeoutSeconds} s`, cause) : sorted(cause);
  }
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

function sorted(error: unknown): AwsProblem {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  const reason = status === undefined ? networkReason(error) : `${name}: ${(error as Error).message}`;
  return new AwsProblem(kindOf(name ?? '', status), reason, error);
}

function kindOf(name: string, status: number | undefined): AwsProblem['kind'] {
  if (DENIED.includes(name)) return 'denied';
  if (MISSING.includes(name)) return 'missing';
  if (status === undefined || status >= 500 || status === 429 || BUSY.includes(name)) return 'busy';
  if (status === 401 || status === 403) return 'denied';
  return status === 404 ? 'missing' : 'refused';
}
