import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { layout } from '../../core/layout';
import { keepAliveFile } from '../../workers/alive-file';
import { waitUntil } from '../support/servers';

const ROOT = path.resolve(__dirname, '../..');

interface Statement {
  readonly Sid: string;
  readonly Effect: 'Allow' | 'Deny';
  readonly Action: string | readonly string[];
  readonly Resource: string | readonly string[];
}

const PURPOSES = ['backup', 'copies', 'restore', 'retention', 'failover'] as const;
type Purpose = (typeof PURPOSES)[number];

function allowed(purpose: Purpose): Statement[] {
  const text = fs.readFileSync(path.join(ROOT, `deploy/aws/iam-${purpose}.json`), 'utf8');
  return (JSON.parse(text) as { Statement: Statement[] }).Statement.filter(({ Effect }) => Effect === 'Allow');
}

const actionsOf = (statements: readonly Statement[]) => new Set(statements.flatMap(({ Action }) => Action));

/**
 * What each command of the AWS SDK asks for ("Required permissions" of its page in the API reference; service authorization
 * reference of IAM), and which of our policies must have it.
 */
const NEEDS: Readonly<Record<string, readonly [action: string, ...purposes: Purpose[]]>> = {
  ListObjectsV2: ['s3:ListBucket', ...PURPOSES],
  ListMultipartUploads: ['s3:ListBucketMultipartUploads', 'backup', 'copies', 'retention'],
  ListParts: ['s3:ListMultipartUploadParts', 'backup', 'copies'],
  GetObject: ['s3:GetObject', ...PURPOSES],
  HeadObject: ['s3:GetObject', ...PURPOSES],
  PutObject: ['s3:PutObject', ...PURPOSES],
  CreateMultipartUpload: ['s3:PutObject', 'backup', 'copies'],
  UploadPart: ['s3:PutObject', 'backup', 'copies'],
  CompleteMultipartUpload: ['s3:PutObject', 'backup', 'copies'],
  AbortMultipartUpload: ['s3:AbortMultipartUpload', 'backup', 'copies', 'retention'],
  DeleteObjects: ['s3:DeleteObject', ...PURPOSES],
  ChangeResourceRecordSets: ['route53:ChangeResourceRecordSets', 'failover'],
  ListResourceRecordSets: ['route53:ListResourceRecordSets', 'failover'],
  GetChange: ['route53:GetChange', 'failover'],
  PutMetricData: ['cloudwatch:PutMetricData', 'backup'],
  Publish: ['sns:Publish', ...PURPOSES],
  Encrypt: ['kms:Encrypt', 'backup'],
  Decrypt: ['kms:Decrypt', ...PURPOSES],
  GetBucketLifecycleConfiguration: ['s3:GetLifecycleConfiguration', 'retention'],
  PutBucketLifecycleConfiguration: ['s3:PutLifecycleConfiguration', 'retention'],
  DeleteBucketLifecycle: ['s3:PutLifecycleConfiguration', 'retention'],
  RestoreObject: ['s3:RestoreObject', 'restore'],
};

/** S3 itself uses the key of a bucket that is encrypted by it, with the caller's rights, whoever else does. */
const BY_S3 = ['kms:Encrypt', 'kms:Decrypt', 'kms:GenerateDataKey'];

/** Commands and paginators that files below `adapters/` import from a client of the AWS SDK. */
function commandsUsed(): string[] {
  const files = fs.readdirSync(path.join(ROOT, 'adapters'), { recursive: true, encoding: 'utf8' });
  const found = new Set<string>();
  for (const file of files.filter((name) => name.endsWith('.ts'))) {
    const text = fs.readFileSync(path.join(ROOT, 'adapters', file), 'utf8');
    for (const [, names = ''] of text.matchAll(/import \{([^}]*)\} from '@aws-sdk\/client-[a-z0-9-]+'/g))
      for (const [, command, page] of names.matchAll(/\b(?:([A-Z]\w*)Command|paginate([A-Z]\w*))\b(?!Output|Input)/g))
        found.add(command ?? page ?? '');
  }
  return [...found].toSorted();
}

test('every command of the AWS SDK that is used is granted by the policies of those who use it', () => {
  const used = commandsUsed();
  expect(used.length).toBeGreaterThan(12);
  expect(used.filter((command) => NEEDS[command] === undefined)).toEqual([]);
  const missing = used.flatMap((command) => {
    const [action = '', ...purposes] = NEEDS[command] ?? [];
    return purposes
      .filter((purpose) => !actionsOf(allowed(purpose)).has(action))
      .map((purpose) => `${command}: deploy/aws/iam-${purpose}.json lacks ${action}`);
  });
  expect(missing).toEqual([]);
});

test.each(PURPOSES)(
  'the policy for %s grants nothing that no command needs, and no more than it is about',
  (purpose) => {
    const used = commandsUsed();
    const needed = used.flatMap((command) => {
      const [action = '', ...purposes] = NEEDS[command] ?? [];
      return (purposes as readonly string[]).includes(purpose) ? [action] : [];
    });
    const statements = allowed(purpose);
    expect([...actionsOf(statements)].filter((action) => ![...needed, ...BY_S3].includes(action))).toEqual([]);
    for (const { Sid, Action, Resource } of statements) {
      // CloudWatch takes metrics for no resource; its statement names the namespace.
      if (Action === 'cloudwatch:PutMetricData') continue;
      expect({ Sid, wide: [Resource].flat().filter((each) => !/^arn:aws:[a-z0-9]+:.*[A-Za-z0-9]/.test(each)) }).toEqual(
        {
          Sid,
          wide: [],
        },
      );
    }
  },
);

test('every key of the repository may be written by somebody', () => {
  const writable = PURPOSES.flatMap((purpose) => allowed(purpose))
    .filter(({ Action }) => [Action].flat().includes('s3:PutObject'))
    .flatMap(({ Resource }) => Resource);
  const makers = Object.values(layout) as ((...parts: string[]) => string)[];
  const keys = makers.map((make) => `ultramarket/${make('uses', 'b', 'c', 'd')}`);
  const matches = (arn: string, key: string) =>
    new RegExp(`^${arn.replace(/^arn:aws:s3:::[^/]+\//, '').replaceAll('*', '.*')}$`).test(key);
  expect(keys.filter((key) => !writable.some((arn) => matches(arn, key)))).toEqual([]);
});

test('only retention may remove what backups are restored from; nobody removes epochs, keys, proofs or reports', () => {
  const removable = (purpose: Purpose) => [
    ...new Set(
      allowed(purpose)
        .filter(({ Action }) => [Action].flat().includes('s3:DeleteObject'))
        .flatMap(({ Resource }) => Resource)
        .map((arn) => arn.replace(/^arn:aws:s3:::[^/]+\//, '')),
    ),
  ];
  expect(removable('restore')).toEqual(['ultramarket/retention/uses/*']);
  expect(removable('failover')).toEqual(['ultramarket/dns/*']);
  expect(removable('backup')).toEqual([
    ...['ultramarket/data/*/attempt-*', 'ultramarket/data/log/*', 'assets/*', 'ultramarket/retention/uses/*'],
  ]);
  const ofCopies = ['ultramarket/data/*/attempt-*', 'ultramarket/data/log/*', 'ultramarket/retention/holds/*'];
  expect(removable('copies')).toEqual([...ofCopies, 'ultramarket/retention/uses/*']);
  const guarded = ['epochs', 'keys', 'proofs', 'reports'].map((folder) => `ultramarket/${folder}/x`);
  const matches = (pattern: string, key: string) => new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(key);
  for (const purpose of PURPOSES)
    for (const key of guarded) expect(removable(purpose).filter((pattern) => matches(pattern, key))).toEqual([]);
});

test('the alive file is there while every worker takes work, and not of a predecessor', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-alive-'));
  const file = path.join(folder, 'alive');
  try {
    fs.writeFileSync(file, 'of one that was killed');
    const states = ['RUNNING', 'INITIALIZED'];
    let stop = keepAliveFile(
      file,
      states.map((_, index) => ({ getState: () => states[index] ?? '' })),
    );
    expect(fs.existsSync(file)).toBe(false);
    stop();
    states[1] = 'RUNNING';
    stop = keepAliveFile(
      file,
      states.map((_, index) => ({ getState: () => states[index] ?? '' })),
    );
    const first = fs.readFileSync(file, 'utf8');
    await waitUntil('the file being renewed', async () => fs.readFileSync(file, 'utf8') !== first, {
      deadlineMs: 15_000,
    });
    stop();
    expect(fs.existsSync(file)).toBe(false);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}, 20_000);
