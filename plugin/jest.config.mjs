// The time zone of every test, wherever it runs.
process.env.TZ = 'UTC';

// Dependencies of @grafana/* that are published as ES modules only.
const esModules = [
  '@marcbachmann/cel-js',
  '@grafana/schema',
  '@wojtekmaj/date-utils',
  'd3',
  'd3-.*',
  'get-user-locale',
  'internmap',
  'delaunator',
  'robust-predicates',
  'marked',
  'memoize',
  'mimic-function',
  'ol',
  'react-calendar',
  'react-colorful',
  'rxjs',
  'uuid',
];

export default {
  testEnvironment: 'jest-environment-jsdom',
  // Looking for roles takes its time where the machine has other work.
  testTimeout: 120_000,
  testMatch: ['<rootDir>/src/**/*.test.{ts,tsx}'],
  setupFilesAfterEnv: ['<rootDir>/src/test/setup.ts'],
  moduleNameMapper: {
    '\\.(css|scss)$': '<rootDir>/src/test/empty.ts',
    '^react-inlinesvg$': '<rootDir>/src/test/inlinesvg.tsx',
    '^@kusto/monaco-kusto$': '<rootDir>/src/test/kusto.ts',
  },
  transform: {
    '^.+\\.(t|j|mj)sx?$': [
      '@swc/jest',
      {
        sourceMaps: 'inline',
        jsc: {
          parser: { syntax: 'typescript', tsx: true },
          transform: { react: { runtime: 'automatic' } },
        },
      },
    ],
  },
  transformIgnorePatterns: [`node_modules/(?!.*(${esModules.join('|')})/.*)`],
};
