import type { Secret } from '../../core/secret';

/** Answers of the systems we speak JSON with are small; a larger one is a wrong address or a broken peer. */
const MAX_ANSWER_BYTES = 1024 * 1024;

export interface JsonRequest {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly token?: Secret;
  /** Sent as JSON; a string is sent as it is, for requests whose bytes are signed. */
  readonly body?: unknown;
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal;
}

export interface JsonAnswer {
  readonly status: number;
  /** The parsed body; null when it is empty or not JSON. */
  readonly json: unknown;
  /** The first line or so of the body, for error messages. */
  readonly excerpt: string;
  readonly headers: Headers;
}

/** There was no whole answer: refused, reset, timed out. Whether the peer acted is not known. Never names the URL. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer';
}

/**
 * One request, one answer of any status. Redirects are not followed, so a token never reaches another host.
 * Throws NoAnswer, or the signal's reason when the caller cancelled.
 */
export async function requestJson(request: JsonRequest): Promise<JsonAnswer> {
  const deadline = AbortSignal.timeout(Math.ceil(request.timeoutSeconds * 1_000));
  try {
    const response = await fetch(request.url, {
      method: request.method,
      headers: headersOf(request),
      ...(request.body === undefined ? {} : { body: bodyOf(request.body) }),
      redirect: 'manual',
      signal: request.signal ? AbortSignal.any([request.signal, deadline]) : deadline,
    });
    const text = await readCapped(response);
    return { status: response.status, json: parse(text), excerpt: excerptOf(text), headers: response.headers };
  } catch (error) {
    request.signal?.throwIfAborted();
    if (deadline.aborted) throw new NoAnswer(`no answer within ${request.timeoutSeconds} s`, { cause: error });
    throw new NoAnswer(networkReason(error), { cause: error });
  }
}

function headersOf({ headers, token, body }: JsonRequest): Record<string, string> {
  return {
    accept: 'application/json',
    ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(token ? { authorization: `Bearer ${token.reveal()}` } : {}),
    ...headers,
  };
}

function bodyOf(body: unknown): string {
  return typeof body === 'string' ? body : JSON.stringify(body);
}

async function readCapped(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += (chunk as Uint8Array).length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function parse(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null; // an error page of a proxy: the status and the excerpt say it
  }
}

function excerptOf(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > 200 ? `${line.slice(0, 200)}…` : line;
}

/** fetch says only "fetch failed"; why is in the chain of causes, the innermost that says something. */
export function networkReason(error: unknown): string {
  let reason = String(error);
  for (let current = error; isErrorLike(current); current = current.cause) {
    reason = current.message || current.code || reason;
  }
  return reason;
}

/** By its form: an error of Node's own fetch need not be of the same realm as ours. */
function isErrorLike(value: unknown): value is { message: string; code?: string; cause?: unknown } {
  return typeof value === 'object' && value !== null && typeof (value as { message?: unknown }).message === 'string';
}
