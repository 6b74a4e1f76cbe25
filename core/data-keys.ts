/** `key-file`: a private key that workers have. `break-glass`: one kept offline. `kms`: a key of AWS KMS. */
export const RECIPIENT_KINDS = ['key-file', 'break-glass', 'kms'] as const;
export type RecipientKind = (typeof RECIPIENT_KINDS)[number];

/** Who can unwrap a data key. Nothing of it is secret. */
export interface KeyRecipient {
  readonly name: string;
  readonly kind: RecipientKind;
  /** `sha256:<hex>` of a public key (its DER, as `openssl pkey -pubin -outform DER` writes it), or the id of a KMS key. */
  readonly identity: string;
}

export interface WrappedKey extends KeyRecipient {
  readonly algorithm: 'RSA-OAEP-SHA256' | 'AWS-KMS';
  /** Base64. */
  readonly wrappedKey: string;
}

/**
 * `keys/<keyId>.json`: one data key, wrapped for everybody who may have it. Its id is made of the key itself, so that no other
 * key can be put in its place. A change of recipients is a new revision beside it; none is ever replaced.
 */
export interface DataKeyRecord {
  readonly formatVersion: 1;
  readonly application: string;
  /** 32 hexadecimal digits. */
  readonly keyId: string;
  readonly createdAt: string;
  /** The first one is number 1. */
  readonly revision: number;
  readonly writtenAt: string;
  readonly writtenBy: string;
  readonly recipients: readonly WrappedKey[];
}

/** A data key as the repositories hold it. */
export interface StoredDataKey {
  readonly keyId: string;
  /** Null where no revision of it can be read. */
  readonly record: DataKeyRecord | null;
  /** By repository: the newest revision that can be read there, null for none, and what is wrong with others. */
  readonly stored: readonly {
    readonly repository: string;
    readonly revision: number | null;
    readonly problems: readonly string[];
  }[];
}

/** What a change of recipients would do to one data key. */
export interface RotationPlan {
  readonly keyId: string;
  readonly revision: number;
  readonly added: readonly KeyRecipient[];
  readonly removed: readonly KeyRecipient[];
  /** Repositories that do not have its newest revision. */
  readonly missingIn: readonly string[];
}

/** Whether a recipient of the config unwraps a data key in this process; `problem` null: it does. */
export interface UnwrapCheck {
  readonly recipient: KeyRecipient['name'];
  readonly kind: RecipientKind;
  readonly problem: string | null;
}

/**
 * The data keys of one application, in every repository that holds its backups. Errors: KeyUnavailable (nobody here can unwrap
 * it, or it is lost), BackupCorrupt (damaged), ConfigInvalid (a recipient of the config cannot be used), LockHeld (somebody
 * else changed it at the same moment).
 */
export interface DataKeys {
  /** What new backups and log are encrypted with; null: they are stored plain. */
  readonly activeKeyId: string | null;
  /** Names of the repositories that keys are stored in. */
  readonly repositories: readonly string[];
  /** Those of the config, with their public keys read. */
  recipients(): KeyRecipient[];
  /** Oldest first. */
  list(): Promise<StoredDataKey[]>;
  /** Makes a data key and stores it for the recipients of the config. Nothing is encrypted with it before the config names it. */
  create(by: string, at: Date): Promise<DataKeyRecord>;
  planRotation(key: StoredDataKey): RotationPlan;
  /** Wraps the key for exactly the recipients of the config, and stores it where it is missing. Repeatable. */
  rotate(plan: RotationPlan, by: string, at: Date): Promise<DataKeyRecord>;
  /** Tries every recipient of the config. */
  check(keyId: string): Promise<UnwrapCheck[]>;
}
