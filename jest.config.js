const { availableParallelism } = require('node:os');

/** @type {import('jest').Config} */
module.exports = {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, sourceMaps: 'inline' }],
  },
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
  // Half an hour of alerts: only `npm run test:deep -- alerts` sets this.
  testPathIgnorePatterns: ['/node_modules/', ...(process.env.DRCTL_CAUSES ? [] : ['/test/e2e/alerts\\.test\\.ts$'])],
  testTimeout: 60000,
  testSequencer: '<rootDir>/test/support/longest-first.cjs',
  // The default is one fewer than the cores; these tests wait for servers a third of their time.
  maxWorkers: availableParallelism() + 1,
};
