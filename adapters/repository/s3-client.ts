import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { S3Client } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { S3RepositorySettings } from './settings';

/** A host that does not answer a SYN within this long is taken for gone; the SDK then tries again. */
const CONNECT_MILLISECONDS = 5_000;

/** Until the response begins, sending included: one part of 8 MiB over a line of 100 KB/s still arrives. */
const REQUEST_MILLISECONDS = 120_000;

/** Beyond these the activity's own retry takes over, which people can see. */
const ATTEMPTS = 3;

export function createS3Client(settings: S3RepositorySettings, parallelRequests: number): S3Client {
  const { credentials } = settings;
  const agent = { keepAlive: true, maxSockets: parallelRequests };
  const client = new S3Client({
    region: settings.region,
    endpoint: settings.endpoint,
    forcePathStyle: settings.forcePathStyle ?? settings.endpoint !== undefined,
    maxAttempts: ATTEMPTS,
    // Every upload carries its own SHA-256; a second checksum by the SDK would be read by nobody.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(credentials
      ? {
          credentials: async () => ({
            accessKeyId: credentials.accessKeyId.reveal(),
            secretAccessKey: credentials.secretAccessKey.reveal(),
            ...(credentials.sessionToken ? { sessionToken: credentials.sessionToken.reveal() } : {}),
          }),
        }
      : {}),
    requestHandler: new NodeHttpHandler({
      connectionTimeout: CONNECT_MILLISECONDS,
      requestTimeout: REQUEST_MILLISECONDS,
      throwOnRequestTimeout: true,
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
    }),
  });
  // Nobody reads its log, and it copies every answer for it.
  client.middlewareStack.remove('loggerMiddleware');
  return client;
}
