/**
 * Messages of a server to its client (PostgreSQL documentation, "Message Formats" and "Streaming Replication Protocol"), as
 * far as a standby's receiver asks for them.
 */

/** Types of columns, as the catalogue numbers them. */
export const TEXT = 25;
export const INT8 = 20;
/** PostgreSQL counts microseconds from 2000-01-01. */
const EPOCH_2000_MILLISECONDS = Date.UTC(2000, 0, 1);

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = Buffer.alloc(5);
  header.write(type, 0, 'latin1');
  header.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([header, body]);
}

const int32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
};
const int16 = (value: number) => {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
};
const text = (value: string) => Buffer.from(`${value}\0`, 'utf8');

export const askForPassword = (): Buffer => message('R', int32(3));
export const readyForQuery = (): Buffer => message('Z', Buffer.from('I'));
export const copyBoth = (): Buffer => message('W', Buffer.from([0]), int16(0));
export const copyDone = (): Buffer => message('c');
export const complete = (tag: string): Buffer => message('C', text(tag));
/** For a client that speaks a newer minor version: 3.0 is what we speak. */
export const negotiateProtocol = (): Buffer => message('v', int32(0), int32(0));

export function welcome(serverVersion: string): Buffer {
  const parameters = { server_version: serverVersion, client_encoding: 'UTF8', integer_datetimes: 'on' };
  return Buffer.concat([
    message('R', int32(0)),
    ...Object.entries(parameters).map(([name, value]) => message('S', text(name), text(value))),
    readyForQuery(),
  ]);
}

/** A result of one row. */
export function oneRow(
  columns: readonly (readonly [name: string, type: number, value: string | Buffer | null])[],
): Buffer {
  const described = columns.map(([name, type]) =>
    Buffer.concat([text(name), int32(0), int16(0), int32(type), int16(-1), int32(-1), int16(0)]),
  );
  const values = columns.map(([, , value]) => {
    if (value === null) return int32(-1);
    const bytes = Buffer.from(value);
    return Buffer.concat([int32(bytes.length), bytes]);
  });
  return Buffer.concat([
    message('T', int16(columns.length), ...described),
    message('D', int16(columns.length), ...values),
  ]);
}

export function refusal(sqlState: string, words: string): Buffer {
  const fields = [`SFATAL`, `VFATAL`, `C${sqlState}`, `M${words}`].map(text);
  return message('E', ...fields, Buffer.from([0]));
}

/** WAL from `lsn` on; `end` is how far there is some. */
export function walData(lsn: bigint, end: bigint, bytes: Buffer): Buffer {
  const header = Buffer.alloc(25);
  header.write('w', 0, 'latin1');
  header.writeBigUInt64BE(lsn, 1);
  header.writeBigUInt64BE(end, 9);
  header.writeBigUInt64BE(now(), 17);
  return message('d', header, bytes);
}

export function keepalive(end: bigint): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.write('k', 0, 'latin1');
  bytes.writeBigUInt64BE(end, 1);
  bytes.writeBigUInt64BE(now(), 9);
  return message('d', bytes);
}

const now = () => BigInt(Date.now() - EPOCH_2000_MILLISECONDS) * 1_000n;
