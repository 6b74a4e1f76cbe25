// Lets a child process of a test run our TypeScript as jest runs it, without a build: node -r <this file> <program>.ts
const { transformFileSync } = require('@swc/core');

const options = {
  jsc: { target: 'es2023', parser: { syntax: 'typescript' } },
  module: { type: 'commonjs' },
  sourceMaps: 'inline',
};
require.extensions['.ts'] = (module, file) => module._compile(transformFileSync(file, options).code, file);
