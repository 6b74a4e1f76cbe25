import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import { sealed } from '../../adapters/catalog/stored-json';
import { createDataKeys } from '../../adapters/encryption/data-keys';
import type { RecipientSettings } from '../../adapters/encryption/settings';
import { SecretReference } from '../../config/secret-input';
import type { DataKeyRecord } from '../../core/data-keys';
import { findFailure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { Secret } from '../../core/secret';
import { main } from '../../starters/main';
import { breakGlassOf, keyFileOf, openEncryption, rsaKeyPair, startEncryption } from '../support/data-keys';
import { recordingIo, type RecordingOptions } from '../support/recording-io';
import { startMoto } from '../support/servers';

const [worker, offline, other] = [rsaKeyPair(), rsaKeyPair(), rsaKeyPair()];
const AT = new Date('2026-11-23T05:00:00.000Z');

let folder: string;
let here: Repository;
let there: Repository;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-keys-'));
  [here, there] = ['here', 'there'].map((name) =>
    createRepository(name, { kind: 'local', directory: path.join(folder, name), prefix: '' }, 'shop'),
  ) as [Repository, Repository];
});
afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

const both = () => ({ worker: keyFileOf(worker), 'break-glass': breakGlassOf(offline) });
const dataKeyWith = async (recipients: Readonly<Record<string, RecipientSettings>>, keyId: string, from = [here]) =>
  (await openEncryption(from, recipients, null).keys.dataKey(keyId)).export().toString('hex');
const recordOf = async (keyId: string, revision = 1, of = here) =>
  JSON.parse((await of.read(layout.key(keyId, revision))).toString()) as DataKeyRecord;

test('a data key is stored in every repository for every recipient, and each of them alone unwraps the same', async () => {
  const { keyId } = await startEncryption([here, there], both());
  const record = await recordOf(keyId);
  expect(record.recipients.map(({ name, kind }) => [name, kind])).toEqual([
    ['worker', 'key-file'],
    ['break-glass', 'break-glass'],
  ]);
  const key = await dataKeyWith({ worker: keyFileOf(worker) }, keyId, [there]);
  expect(key).toMatch(/^[0-9a-f]{64}$/);
  expect(await dataKeyWith({ offline: breakGlassOf(offline, true) }, keyId)).toBe(key);
  expect(JSON.stringify(record)).not.toContain(key);
  // By hand, with nothing of ours: openssl unwraps it, and its id follows from it.
  const privateKey = path.join(folder, 'offline.pem');
  fs.writeFileSync(privateKey, offline.privateKey.reveal());
  const padding = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'].flatMap((each) => [
    '-pkeyopt',
    each,
  ]);
  const input = Buffer.from(record.recipients[1]!.wrappedKey, 'base64');
  const bytes = execFileSync('openssl', ['pkeyutl', '-decrypt', '-inkey', privateKey, ...padding], { input });
  expect(bytes.toString('hex')).toBe(key);
  const options = ['digest:SHA256', `hexkey:${key}`, 'info:drctl data key id'].flatMap((each) => ['-kdfopt', each]);
  const id = execFileSync('openssl', ['kdf', '-keylen', '16', ...options, 'HKDF'], { encoding: 'utf8' });
  expect(id.replaceAll(/[^0-9A-F]/g, '').toLowerCase()).toBe(keyId);
});

test('recipients are changed without touching what was encrypted; every revision stays; two at once do not both win', async () => {
  const { cipher, keyId } = await startEncryption([here, there], both());
  const stored = await cipher.encrypt('x', Buffer.from('orders'));
  const changed = { next: keyFileOf(other), 'break-glass': breakGlassOf(offline, true) };
  const { keys } = openEncryption([here, there], changed, keyId);
  const [listed] = await keys.list();
  const plan = keys.planRotation(listed!);
  expect([plan.added, plan.removed].map((each) => each.map(({ name }) => name))).toEqual([['next'], ['worker']]);
  const results = await Promise.allSettled([keys.rotate(plan, 'dana', AT), keys.rotate(plan, 'dana', AT)]);
  const refused = results.flatMap((each) => (each.status === 'rejected' ? [each.reason as { type: string }] : []));
  expect(refused.map(({ type }) => type)).toEqual(['LockHeld']);
  expect(await recordOf(keyId, 2, there)).toEqual(await recordOf(keyId, 2));
  expect((await recordOf(keyId, 1)).recipients[0]!.name).toBe('worker');
  const { cipher: later } = openEncryption([here], { next: keyFileOf(other) }, null);
  expect((await later.decrypt('x', stored)).toString()).toBe('orders');
  await expect(dataKeyWith({ worker: keyFileOf(worker) }, keyId)).rejects.toMatchObject({
    type: 'KeyUnavailable',
    message: expect.stringMatching(/worker: .*not wrapped for it.*next \(key-file\), break-glass/),
  });
  // Where one repository lost it, the same brings it back.
  await there.delete([layout.key(keyId, 1), layout.key(keyId, 2)]);
  const missing = keys.planRotation((await keys.list())[0]!);
  expect(missing).toMatchObject({ added: [], removed: [], missingIn: ['there'] });
  await keys.rotate(missing, 'dana', AT);
  expect((await there.read(layout.key(keyId, 2))).equals(await here.read(layout.key(keyId, 2)))).toBe(true);
});

test('a key that is lost or damaged is read from another repository; where none has it, that is said', async () => {
  const { keyId } = await startEncryption([here, there], both());
  const key = layout.key(keyId, 1);
  const read = () => dataKeyWith(both(), keyId, [here, there]);
  const whole = await read();
  const bytes = await here.read(key);
  await here.put(key, Buffer.from(bytes).fill(bytes[400]! ^ 1, 400, 401));
  expect(await read()).toBe(whole);
  await expect(dataKeyWith(both(), keyId)).rejects.toMatchObject({
    type: 'BackupCorrupt',
    message: expect.stringContaining(key),
  });
  await here.delete([key]);
  expect(await read()).toBe(whole);
  await there.delete([key]);
  await expect(read()).rejects.toMatchObject({
    type: 'KeyUnavailable',
    message: expect.stringMatching(/lost.*here.*there/),
  });
});

test('a newest revision that one repository has damaged is read from another one, and mended from there', async () => {
  const { keyId } = await startEncryption([here, there], { worker: keyFileOf(worker) });
  const changed = { worker: keyFileOf(worker), next: keyFileOf(other) };
  const { keys } = openEncryption([here, there], changed, keyId);
  await keys.rotate(keys.planRotation((await keys.list())[0]!), 'dana', AT);
  const key = layout.key(keyId, 2);
  const bytes = await here.read(key);
  await here.put(key, Buffer.from(bytes).fill(bytes[400]! ^ 1, 400, 401));
  // Only the second revision names the one who was added.
  expect(await dataKeyWith({ next: keyFileOf(other) }, keyId, [here, there])).toMatch(/^[0-9a-f]{64}$/);
  const plan = keys.planRotation((await keys.list())[0]!);
  expect(plan).toMatchObject({ revision: 2, added: [], removed: [], missingIn: ['here'] });
  await keys.rotate(plan, 'dana', AT);
  expect((await here.read(key)).equals(bytes)).toBe(true);
});

test('another data key put in the place of ours, wrapped for our public keys, is refused', async () => {
  const { keyId } = await startEncryption([here], both());
  const { keyId: attackers } = await startEncryption([there], both());
  await here.put(layout.key(keyId, 1), sealed({ ...(await recordOf(attackers, 1, there)), keyId, sha256: undefined }));
  await expect(dataKeyWith(both(), keyId)).rejects.toMatchObject({
    type: 'KeyUnavailable',
    message: expect.stringContaining('another key'),
  });
});

test('a key file that is wrong, unreadable or too short is named, and nothing of it is shown', async () => {
  const { keyId } = await startEncryption([here], both());
  const [, body = ''] = worker.privateKey.reveal().split('\n');
  const cut = new Secret(worker.privateKey.reveal().slice(0, 900));
  for (const [recipient, code, says] of [
    [keyFileOf(other), 'KeyUnavailable', /not wrapped for it/],
    [{ kind: 'key-file', privateKey: cut }, 'KeyUnavailable', /privateKey is not a key in PEM/],
    [keyFileOf(rsaKeyPair(2048)), 'KeyUnavailable', /2048 bits/],
    [breakGlassOf(offline), 'KeyUnavailable', /private key is not in the config/],
    [{ kind: 'break-glass', publicKey: path.join(folder, 'none.pem') }, 'KeyUnavailable', /none\.pem is not there/],
  ] as [RecipientSettings, string, RegExp][]) {
    const error = await dataKeyWith({ mine: recipient }, keyId).then(() => null, findFailure);
    expect(error).toMatchObject({ code, message: expect.stringMatching(says) });
    expect(JSON.stringify(error)).not.toContain(body);
  }
});

test('KMS wraps and unwraps; where it refuses or does not answer another recipient does, or that is said', async () => {
  const moto = await startMoto();
  try {
    const access = { accessKeyId: new Secret('AKIA'), secretAccessKey: new Secret('secret') };
    const { endpoint, region } = moto;
    const credentials = { accessKeyId: 'AKIA', secretAccessKey: 'secret' };
    const client = new KMSClient({ endpoint, region, credentials });
    const { KeyMetadata } = await client.send(new CreateKeyCommand({}));
    const kms: RecipientSettings = {
      kind: 'kms',
      keyId: KeyMetadata!.Arn!,
      region,
      endpoint,
      timeoutSeconds: 10,
      ...access,
    };
    const { keyId } = await startEncryption([here], { kms, worker: keyFileOf(worker) });
    const key = await dataKeyWith({ kms }, keyId);
    expect(key).toBe(await dataKeyWith({ worker: keyFileOf(worker) }, keyId));
    const elsewhere = { ...kms, endpoint: 'http://127.0.0.1:9', timeoutSeconds: 1 };
    expect(await dataKeyWith({ kms: elsewhere, worker: keyFileOf(worker) }, keyId)).toBe(key);
    await expect(dataKeyWith({ kms: elsewhere }, keyId)).rejects.toMatchObject({
      type: 'TargetUnreachable',
      nonRetryable: false,
      message: expect.stringContaining('KMS does not answer'),
    });
    const unnamed = { ...kms, secretAccessKey: new SecretReference({ file: path.join(folder, 'none') }, 'a test') };
    await expect(dataKeyWith({ kms: unnamed }, keyId)).rejects.toMatchObject({
      type: 'KeyUnavailable',
      message: expect.stringMatching(/kms: .*none/),
    });
    // moto lets a disabled key decrypt; what it does refuse is another context than the one that was bound.
    const of = { repositories: [here], activeKeyId: null, recipients: { kms } };
    const foreign = createDataKeys({ application: 'other', ...of }).dataKey(keyId);
    await expect(foreign).rejects.toMatchObject({
      type: 'KeyUnavailable',
      message: expect.stringMatching(/kms: KMS refuses: .*worker \(key-file\)/),
    });
    client.destroy();
  } finally {
    await moto.stop();
  }
});

describe('drctl keys', () => {
  let config: string;
  let pem: string;
  const drctl = async (argv: string, options: RecordingOptions = {}) => {
    const io = recordingIo(options);
    return { exitCode: await main([...argv.split(' '), '--config', config], io), io, text: io.text() };
  };
  /** The example with folders instead of buckets, and an `encryption` of its own. */
  function configure(encryption: string): void {
    const example = fs.readFileSync('config/examples/ultramarket.yaml', 'utf8').split('\n').slice(1).join('\n');
    const local = (name: string) => `  ${name}: { kind: local, directory: ${path.join(folder, name)} }\n`;
    const text = example
      .replace(/^ {2}cloud:\n(?: {4}.*\n)+/m, local('cloud'))
      .replace(/^ {2}offsite:.*\n(?: {4}.*\n)+/m, local('offsite'));
    fs.writeFileSync(config, `${text.replace(/^encryption:\n(?:[ #].*\n|\n)+/m, '')}\nencryption:\n${encryption}`);
  }
  const recipients = (...names: string[]) =>
    `  recipients:\n${names.map((name) => `    ${name}: { kind: key-file, privateKey: { file: ${pem} } }\n`).join('')}`;

  beforeEach(() => {
    [config, pem] = ['drctl.yaml', 'worker.pem'].map((name) => path.join(folder, name)) as [string, string];
    fs.writeFileSync(pem, worker.privateKey.reveal());
    configure(recipients('worker'));
  });

  test('create, list, check and rotate: the plan first, a question, and nothing secret', async () => {
    expect((await drctl('keys list')).text).toContain('There is no data key in cloud, offsite yet');
    const unasked = await drctl('keys create');
    expect([unasked.exitCode, unasked.text]).toEqual([
      2,
      expect.stringMatching(/worker +key-file +sha256:[\s\S]*break-glass[\s\S]*--yes/),
    ]);
    expect((await drctl('keys create', { answers: ['no'] })).io.outLines).toEqual(['Nothing was changed.']);
    const created = await drctl('keys create', { answers: ['yes'] });
    const keyId = /key: ([0-9a-f]{32})/.exec(created.text)![1]!;
    expect((await drctl('keys list')).text).toMatch(
      /reads +\S+Z +1 +worker \(key-file\) +cloud, offsite[\s\S]*stored plain/,
    );
    expect((await drctl('config check')).text).toContain('encryption    off: new backups and log are stored plain');
    configure(`  key: ${keyId}\n${recipients('worker', 'second')}`);
    expect((await drctl('keys list')).text).toMatch(/encrypts/);
    expect((await drctl('config check')).text).toContain(
      `encryption    on, with the data key ${keyId}, recipients worker`,
    );
    const checked = await drctl('keys check');
    expect([checked.exitCode, checked.text]).toEqual([0, expect.stringMatching(/worker +key-file +unwraps/)]);
    expect((await drctl('keys rotate --dry-run')).text).toMatch(/\+ second \(key-file, sha256:.*\nNothing was changed/);
    expect((await drctl('keys rotate --yes')).text).toContain(`${keyId} is at revision 2.`);
    expect((await drctl('keys rotate --yes')).text).toContain('Nothing was changed.');
    fs.rmSync(path.join(folder, 'offsite'), { recursive: true });
    const lacking = await drctl('keys check');
    expect([lacking.exitCode, lacking.text]).toEqual([29, expect.stringMatching(/cloud, offsite \(missing\)/)]);
    fs.writeFileSync(pem, other.privateKey.reveal());
    const closed = await drctl('keys check --output json');
    expect([closed.exitCode, closed.text]).toEqual([29, expect.stringContaining('not wrapped for it')]);
    expect(`${created.text}${checked.text}${closed.text}`).not.toContain(worker.privateKey.reveal().split('\n')[1]);
  });

  test('a config without recipients, or with the id of no data key, is refused with its field', async () => {
    configure('  recipients: {}\n');
    expect((await drctl('config check')).text).toMatch(/encryption\.recipients: names nobody/);
    configure(`  key: mine\n${recipients('worker')}`);
    expect((await drctl('config check')).text).toMatch(/encryption\.key: .*is not the id of a data key/);
  });
});
