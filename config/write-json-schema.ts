import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { configJsonSchema } from './json-schema';

// `npm run config:schema`: run from the project's folder after a schema changed.
writeFileSync(join(process.cwd(), 'config', 'drctl.schema.json'), `${JSON.stringify(configJsonSchema(), null, 2)}\n`);
