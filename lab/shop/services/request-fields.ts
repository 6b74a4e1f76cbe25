import { Refusal } from '../json-server';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** PostgreSQL's integer, and a whole number in every store. */
const LARGEST_INTEGER = 2 ** 31 - 1;

/** Reads fields of a JSON body; each method refuses with 400, naming the field, when it is not what it must be. */
export function fieldsOf(body: unknown, at = 'the body') {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw wrong(at, 'an object');
  const fields = body as Record<string, unknown>;
  return {
    uuid(name: string): string {
      const value = fields[name];
      if (typeof value !== 'string' || !UUID.test(value)) throw wrong(name, 'a UUID in lower case');
      return value;
    },
    text(name: string, longest = 200): string {
      const value = fields[name];
      if (typeof value !== 'string' || value === '' || value.length > longest || value.includes('\0')) {
        throw wrong(name, `a text of 1 to ${longest} characters`);
      }
      return value;
    },
    integer(name: string, smallest: number, largest = LARGEST_INTEGER): number {
      const value = fields[name];
      if (!Number.isInteger(value) || Number(value) < smallest || Number(value) > largest) {
        throw wrong(name, `a whole number from ${smallest} to ${largest}`);
      }
      return Number(value);
    },
    list(name: string, most: number): unknown[] {
      const value = fields[name];
      if (!Array.isArray(value) || value.length === 0 || value.length > most) {
        throw wrong(name, `a list of 1 to ${most} entries`);
      }
      return value;
    },
  };
}

function wrong(name: string, expected: string): Refusal {
  return new Refusal(400, 'bad-request', `${name} must be ${expected}`);
}
