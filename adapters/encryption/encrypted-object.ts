/** Version 2 of the message format, and the algorithm suite. zstd's magic number and a PostgreSQL page begin otherwise. */
const FIRST_BYTES = Buffer.from([0x02, 0x04, 0x78]);

/** What is wrong with an encrypted object; the caller says where it lies. */
export class CipherFormatError extends Error {}

/** Objects of one application, as messages of the AWS Encryption SDK. Each is bound to its name; see `boundName`. */
export interface ObjectCipher {
  /** What new objects are encrypted with; null: they are not. */
  readonly keyId: string | null;
  /** Unwraps the active key, so that a dump does not begin that could not be stored. Throws as `DataKeys` says. */
  ready(): Promise<void>;
  /** What is written comes out encrypted through `emit`, one call after the other. */
  encryptor(name: string, emit: (stored: Buffer) => Promise<void>): Encryptor;
  /** A whole object. */
  encrypt(name: string, content: Buffer): Promise<Buffer>;
  /** Nothing is yielded that was not authenticated. Throws CipherFormatError, or as `DataKeys` says. */
  decrypting(name: string, stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void>;
  /** A whole object. Throws the same. */
  decrypt(name: string, stored: Buffer): Promise<Buffer>;
}

/** How one object is encrypted while it is written. */
export interface Encryptor {
  /** The bytes are copied. Resolves when there is room for more. */
  write(content: Uint8Array): Promise<void>;
  end(): Promise<void>;
  /** It is not wanted any more. May be repeated, also after `end`. */
  destroy(): void;
}

export function isEncrypted(stored: Buffer): boolean {
  return stored.subarray(0, FIRST_BYTES.length).equals(FIRST_BYTES);
}
