import { createRepository } from '../adapters/repository';
import { Secret } from '../core/secret';

/** `object KEY`: standard input to S3 in one stream, as `aws s3 cp - s3://…` does; the peers' last program. */
async function main([key]: readonly string[]): Promise<void> {
  const given = (name: string): string => {
    const value = process.env[name];
    if (!value || !key) throw new Error(`usage: S3_ENDPOINT=… S3_REGION=… S3_BUCKET=… object KEY`);
    return value;
  };
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
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const context = { signal: AbortSignal.timeout(1_800_000), log, progress() {} };
  const { sizeBytes } = await repository.uploadStream(key as string, process.stdin, {}, context);
  process.stdout.write(`${JSON.stringify({ sizeBytes })}\n`);
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
