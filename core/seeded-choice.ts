/** 32 bits of a seed: neighbouring seeds must not choose neighbours, so that it goes through the finaliser of MurmurHash3. */
export function mixed(seed: number): number {
  let bits = Math.imul((seed >>> 0) ^ (seed >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
