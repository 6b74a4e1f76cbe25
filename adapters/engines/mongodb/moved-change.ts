import { BSON, documentOf, elementOf, type Field, fieldsOf, stringElement, stringOf } from './bson-bytes';
import { databaseIn } from './selection';

/** An element of a change in another database than it was made in. */
export function movedElement(bytes: Buffer, field: Field, from: string, to: string): Buffer {
  if (field.name === 'ns') return stringElement('ns', to);
  if (!from.endsWith('.system.views') || field.type !== BSON.document)
    return bytes.subarray(field.elementAt, field.endAt);
  // The id of a view's document is its namespace.
  const elements = fieldsOf(bytes, field.valueAt).map((each) =>
    each.name === '_id'
      ? stringElement('_id', databaseIn(to) + stringOf(bytes, each).slice(databaseIn(from).length))
      : bytes.subarray(each.elementAt, each.endAt),
  );
  return elementOf(BSON.document, field.name, documentOf(elements));
}
