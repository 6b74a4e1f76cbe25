import { scrypt, timingSafeEqual } from 'node:crypto';

const KEY_BYTES = 32;

/** `scrypt$<salt>$<key>`, both in base64. The salt is the caller's, so that a seed is the same everywhere. */
export async function hashPassword(password: string, salt: Buffer): Promise<string> {
  const key = await derive(password, salt);
  return `scrypt$${salt.toString('base64')}$${key.toString('base64')}`;
}

export async function passwordMatches(password: string, hash: string): Promise<boolean> {
  const [scheme, salt, key] = hash.split('$');
  if (scheme !== 'scrypt' || !salt || !key) return false;
  return timingSafeEqual(await derive(password, Buffer.from(salt, 'base64')), Buffer.from(key, 'base64'));
}

function derive(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // A small cost: the accounts are the lab's own, and a login must not be the load of the machine under test.
    scrypt(password, salt, KEY_BYTES, { N: 1024 }, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
