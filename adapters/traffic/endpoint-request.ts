import * as http from 'node:http';
import * as https from 'node:https';
import * as net from 'node:net';
import * as tls from 'node:tls';
import type { EndpointCheck, EndpointResult } from '../../core/traffic';
import { networkReason } from '../http/json-request';

interface RequestOptions {
  readonly signal: AbortSignal;
  readonly certificateAuthorities?: string;
}

/**
 * Requests the URL at `address` whatever its name resolves to: port, path, Host header, TLS name and certificate check are
 * those of the URL. A new connection each time, for a kept one would still lead to the old site. The deadline covers
 * connecting, headers and the whole body. Redirects are not followed: they are a status like any other.
 */
export async function requestAt(
  address: string,
  check: EndpointCheck,
  options: RequestOptions,
): Promise<EndpointResult> {
  options.signal.throwIfAborted();
  const startedAt = performance.now();
  const deadline = AbortSignal.timeout(check.timeoutMilliseconds);
  const result = (status: number | null, problem: string | null): EndpointResult => ({
    url: check.url,
    method: check.method,
    ok: problem === null,
    status,
    milliseconds: Math.round(performance.now() - startedAt),
    address,
    problem,
  });
  let status: number | null = null;
  try {
    const response = await send(address, check, AbortSignal.any([options.signal, deadline]), options);
    status = response.statusCode ?? null;
    for await (const _ of response); // a server that dies in the middle of its answer is not healthy
    return result(status, status === check.expectStatus ? null : `answered ${status}, expected ${check.expectStatus}`);
  } catch (error) {
    options.signal.throwIfAborted();
    const late = `no complete answer within ${check.timeoutMilliseconds / 1_000} s`;
    return result(status, deadline.aborted ? late : networkReason(error));
  }
}

async function send(
  address: string,
  { url: text, method }: EndpointCheck,
  signal: AbortSignal,
  { certificateAuthorities }: RequestOptions,
): Promise<http.IncomingMessage> {
  const url = new URL(text);
  const secure = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const options: https.RequestOptions = {
    method,
    host: address,
    port: url.port || (secure ? 443 : 80),
    path: `${url.pathname}${url.search}`,
    headers: { host: url.host, 'user-agent': 'drctl', ...(method === 'POST' ? { 'content-length': 0 } : {}) },
    agent: false,
    signal,
    ...(secure ? tlsOptions(name, certificateAuthorities) : {}),
  };
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).request(options, resolve);
    request.once('error', reject).end();
  });
}

function tlsOptions(name: string, authorities: string | undefined): https.RequestOptions {
  return {
    // An address must not be sent as the TLS name (RFC 6066 §3); its certificate is still checked against the URL.
    servername: net.isIP(name) ? '' : name,
    checkServerIdentity: (_, certificate) => tls.checkServerIdentity(name, certificate),
    ...(authorities === undefined ? {} : { ca: [...tls.getCACertificates('default'), authorities] }),
  };
}
