import { pipeline } from 'node:stream/promises';
import { createRepository } from '../adapters/repository';
import { Secret } from '../core/secret';

const USAGE = 'S3_ENDPOINT=… S3_REGION=… S3_BUCKET=… object put|get KEY';

/** Standard input to S3 in one stream, as `aws s3 cp - s3://…` does, or an object to standard output; the peers' end of a pipe. */
async function main([direction, key]: readonly string[]): Promise<void> {
  const given = (name: string): string => {
    const value = process.env[name];
    if (!value) throw new Error(`${name} is not set: ${USAGE}`);
    return value;
  };
  if (!key || !['put', 'get'].includes(direction as string)) throw new Error(`usage: ${USAGE}`);
  const credentials = {
    accessKeyId: new Secret(given('S3_ACCESS_KEY_ID')),
    secretAccessKey: new Secret(given('S3_SECRET_ACCESS_KEY')),
  };
  const place = { bucket: given('S3_BUCKET'), region: given('S3_REGION'), endpoint: given('S3_ENDPOINT') };
  const repository = createRepository(
    'peer',
    { kind: 's3', ...place, prefix: '', credentials, storageClass: 'STANDARD' },
    'bench',
  );
  if (direction === 'get') return pipeline(await repository.get(key), process.stdout);
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const context = { signal: AbortSignal.timeout(1_800_000), log, progress() {} };
  const { sizeBytes } = await repository.uploadStream(key, process.stdin, {}, context);
  process.stdout.write(`${JSON.stringify({ sizeBytes })}\n`);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
