// Decrypts a copy of a repository without drctl: nothing but this file and Node 20 or newer is needed.
//
//   node decrypt.mjs DATA_KEY FOLDER
//
// DATA_KEY holds the 32 bytes of the data key (docs/restore-by-hand.md shows how openssl or KMS unwraps it). Every encrypted file
// below FOLDER gets its plain content beside it, without ".encrypted"; pieces of a log, which have no such ending, are replaced.
// Files of other data keys, and plain ones, stay as they are. May be run again.
//
// The format: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html (version 2, algorithm 0478).
import { createDecipheriv, hkdfSync } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const MAGIC = '020478';
const LAST_FRAME = 0xffffffff;

function opened(key, iv, aad, sealed, tag) {
  const cipher = createDecipheriv('aes-256-gcm', key, iv).setAAD(aad).setAuthTag(tag);
  return Buffer.concat([cipher.update(sealed), cipher.final()]);
}

/** Reads fields one after the other, and remembers what was read for the header's own tag. */
function reader(file) {
  let read = [];
  const bytes = (length) => {
    const buffer = Buffer.alloc(length);
    for (let at = 0; at < length;) {
      const got = readSync(file, buffer, at, length - at, null);
      if (got === 0) throw new Error('it ends too early');
      at += got;
    }
    read.push(buffer);
    return buffer;
  };
  const field = () => bytes(bytes(2).readUInt16BE());
  const taken = () => Buffer.concat(read.splice(0));
  return { bytes, field, taken, uint: (length) => bytes(length).readUIntBE(0, length), forget: () => (read = []) };
}

/** Null for a message of another data key. */
function headerOf({ bytes, field, uint, taken }, dataKey, keyId) {
  bytes(3);
  const messageId = bytes(32);
  const context = field();
  let messageKey = null;
  for (let left = uint(2); left > 0; left -= 1) {
    const [, info, wrapped] = [field(), field(), field()];
    // The name of the key, lengths of tag and nonce in 8 bytes, the nonce.
    if (info.subarray(0, -20).toString() !== keyId) continue;
    messageKey = opened(dataKey, info.subarray(-12), context, wrapped.subarray(0, -16), wrapped.subarray(-16));
  }
  if (messageKey === null) return null;
  uint(1);
  const frameBytes = uint(4);
  const commitment = bytes(32);
  const derived = (info) => Buffer.from(hkdfSync('sha512', messageKey, messageId, info, 32));
  if (!derived('COMMITKEY').equals(commitment)) throw new Error('its key is not the one that it was encrypted with');
  const key = derived(Buffer.concat([Buffer.from('0478', 'hex'), Buffer.from('DERIVEKEY')]));
  const header = taken();
  opened(key, Buffer.alloc(12), header, Buffer.alloc(0), bytes(16));
  return { key, messageId, frameBytes };
}

function decryptBody({ bytes, uint, forget }, { key, messageId, frameBytes }, out) {
  for (let expected = 1; ; expected += 1) {
    forget();
    let sequence = uint(4);
    const isLast = sequence === LAST_FRAME;
    if (isLast) sequence = uint(4);
    const iv = bytes(12);
    const length = isLast ? uint(4) : frameBytes;
    if (sequence !== expected || length > frameBytes) throw new Error('its frames are out of order');
    const numbers = Buffer.alloc(12);
    numbers.writeUInt32BE(sequence);
    numbers.writeBigUInt64BE(BigInt(length), 4);
    const name = Buffer.from(`AWSKMSEncryptionClient ${isLast ? 'Final ' : ''}Frame`);
    const sealed = bytes(length);
    writeSync(out, opened(key, iv, Buffer.concat([messageId, name, numbers]), sealed, bytes(16)));
    if (isLast) return;
  }
}

function decrypt(path, dataKey, keyId) {
  const file = openSync(path, 'r');
  try {
    const first = Buffer.alloc(3);
    if (readSync(file, first, 0, 3, 0) < 3 || first.toString('hex') !== MAGIC) return false;
    const from = reader(file);
    const header = headerOf(from, dataKey, keyId);
    if (header === null) return false;
    const part = `${path}.part`;
    const out = openSync(part, 'w', 0o600);
    try {
      decryptBody(from, header, out);
    } finally {
      closeSync(out);
    }
    renameSync(part, path.replace(/\.encrypted$/, ''));
    return true;
  } catch (error) {
    throw new Error(`${path} cannot be decrypted: ${error.message}`, { cause: error });
  } finally {
    closeSync(file);
  }
}

const [, , keyFile, folder] = process.argv;
if (!folder) throw new Error('usage: node decrypt.mjs DATA_KEY FOLDER');
const dataKey = readFileSync(keyFile);
if (dataKey.length !== 32) throw new Error(`${keyFile} has ${dataKey.length} bytes: a data key has 32`);
const keyId = Buffer.from(hkdfSync('sha256', dataKey, '', 'drctl data key id', 16)).toString('hex');
let count = 0;
for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
  if (entry.isFile() && decrypt(join(entry.parentPath, entry.name), dataKey, keyId)) count += 1;
}
process.stdout.write(`${count} files were encrypted with the data key ${keyId}\n`);
