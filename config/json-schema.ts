import { z } from 'zod';
import { configSchema } from './schema';

/** The JSON Schema for editors, of what stands in the file. Committed as `config/drctl.schema.json`; a test says when it is stale. */
export function configJsonSchema(): object {
  return {
    $id: 'drctl.schema.json',
    title: 'drctl: configuration of one application',
    ...z.toJSONSchema(configSchema, {
      io: 'input',
      unrepresentable: 'any',
      override: ({ zodSchema, jsonSchema }) => {
        if (zodSchema['_zod'].def.type === 'custom') Object.assign(jsonSchema, SECRET);
      },
    }),
  };
}

const SECRET = {
  description: 'A secret: {env: NAME} or {file: path}, never the value itself',
  type: 'object',
  oneOf: [{ required: ['env'] }, { required: ['file'] }],
  properties: { env: { type: 'string' }, file: { type: 'string' } },
  additionalProperties: false,
};
