import { isAbsolute } from 'node:path';
import { z } from 'zod';

/** Paths that start with `./` or `../` were made absolute when the file was read; anything else must be absolute. */
export const directory = z
  .string()
  .refine(isAbsolute, 'is not a path: write an absolute one, or one that starts with ./ and is relative to this file')
  .meta({ description: 'An absolute path, or one that starts with ./ or ../ and is relative to this file' });

/** `{env: NAME}` or `{file: path}` in the file, a Secret here. */
export { secretField as secret } from '../adapters/settings-fields';
