import * as path from 'node:path';
import { accessTo } from '../lab/demo/access';
import { projectRoot } from '../lab/runtime/servers';
import type { BenchLab } from './lab';
import type { Stage } from './pipeline';

export interface UploadPlace {
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** PEM of who signed the endpoint's certificate, where nobody known did. */
  readonly authorityFile?: string;
}

/** The last program of a peer's pipeline: uploads its standard input in one stream and prints `{sizeBytes}`. */
export function uploadStage(place: UploadPlace, key: string): Stage {
  return objectStage(place, 'put', key);
}

/** The first program of a peer's restore: prints an object. */
export function downloadStage(place: UploadPlace, key: string): Stage {
  return objectStage(place, 'get', key);
}

function objectStage(place: UploadPlace, direction: 'put' | 'get', key: string): Stage {
  return {
    argv: [process.execPath, path.join(projectRoot(), 'dist/bench/object.js'), direction, key],
    env: {
      S3_ENDPOINT: place.endpoint,
      S3_REGION: place.region,
      S3_BUCKET: place.bucket,
      S3_ACCESS_KEY_ID: place.accessKeyId,
      S3_SECRET_ACCESS_KEY: place.secretAccessKey,
      ...(place.authorityFile ? { NODE_EXTRA_CA_CERTS: place.authorityFile } : {}),
    },
  };
}

/** The first bucket of a lab. */
export function labUploadPlace({ lab }: BenchLab): UploadPlace {
  const { secrets } = accessTo(lab);
  return {
    endpoint: lab.s3.endpoint,
    region: lab.s3.region,
    bucket: lab.s3.buckets[0] ?? '',
    accessKeyId: secrets.password('s3-access-key-id'),
    secretAccessKey: secrets.password('s3-secret-access-key'),
  };
}
