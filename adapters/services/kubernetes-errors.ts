import { failure } from '../../core/errors';
import { networkReason } from '../http/json-request';

/**
 * Turns what the Kubernetes client threw into our errors: `what` names the call, what it is about and the cluster,
 * `roleFile` the file that grants what is needed.
 */
export function kubernetesFailure(
  error: unknown,
  what: string,
  timedOutAfterSeconds: number | null,
  roleFile: string,
): Error {
  const status = statusOf(error);
  if (status === null) {
    const why = timedOutAfterSeconds === null ? networkReason(error) : `no answer within ${timedOutAfterSeconds} s`;
    return failure('TargetUnreachable', `${what}: ${why}`, { cause: error });
  }
  const message = `${what}: HTTP ${status.code}: ${status.message}`;
  // The client's own error is not kept as the cause: its message dumps all response headers.
  if (status.code === 401) {
    return failure('AccessDenied', message, { next: 'Check the token or certificate of the kubeconfig.' });
  }
  if (status.code === 403) {
    return failure('AccessDenied', message, { next: `Grant what deploy/kubernetes/${roleFile} lists.` });
  }
  if (status.code === 404) return failure('NotFound', message);
  // 409: someone else wrote at the same moment. 429: told to slow down. Both pass.
  if (status.code === 409 || status.code === 429 || status.code >= 500) return failure('TargetUnreachable', message);
  return failure('ConfigInvalid', message);
}

/** ApiException, recognised by its form: its module is loaded lazily. Its `body` is a Status as JSON text. */
function statusOf(error: unknown): { code: number; message: string } | null {
  if (!(error instanceof Error)) return null;
  const { code, body } = error as { code?: unknown; body?: unknown };
  if (typeof code !== 'number') return null;
  return { code, message: messageOf(body) };
}

function messageOf(body: unknown): string {
  let parsed = body;
  if (typeof body === 'string') {
    try {
      parsed = JSON.parse(body);
    } catch {
      return body.slice(0, 200); // a proxy's error page
    }
  }
  const message = (parsed as { message?: unknown } | null)?.message;
  return typeof message === 'string' ? message : 'no reason given';
}
