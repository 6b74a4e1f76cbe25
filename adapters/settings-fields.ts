import { z } from 'zod';
import { Secret } from '../core/secret';

/** A password, token or URL that carries one. The config loader has replaced `{env: …}` and `{file: …}` by then. */
export const secretField = z.custom<Secret>((value) => value instanceof Secret, {
  error: 'must be a reference to a secret, {env: NAME} or {file: path}; a literal secret is not accepted',
});

/** How long one request to an outside system may take, connection and body included. */
export const timeoutSecondsField = (seconds: number) => z.number().positive().max(600).default(seconds);
