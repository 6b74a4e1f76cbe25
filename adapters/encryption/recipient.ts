import type { KeyRecipient, WrappedKey } from '../../core/data-keys';

/** What a wrapped key belongs to; KMS binds it, and shows it in its audit log. */
export interface KeyPurpose {
  readonly application: string;
  readonly keyId: string;
}

/** One recipient of the config. */
export interface Recipient {
  /** Reads its public key. Throws ConfigInvalid. */
  describe(): KeyRecipient;
  /** Throws ConfigInvalid, AccessDenied or TargetUnreachable (KMS). */
  wrap(dataKey: Uint8Array, purpose: KeyPurpose): Promise<Pick<WrappedKey, 'algorithm' | 'wrappedKey'>>;
  /** Throws CannotUnwrap; it may be another one's turn then. */
  unwrap(wrapped: WrappedKey, purpose: KeyPurpose): Promise<Buffer>;
}
