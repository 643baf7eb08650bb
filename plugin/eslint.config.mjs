import { defineConfig } from 'eslint/config';
import grafana from '@grafana/eslint-config/flat.js';

export default defineConfig([
  { ignores: ['dist/', 'node_modules/', 'e2e/'] },
  ...grafana,
  {
    settings: { react: { version: 'detect' } },
    rules: { 'react/prop-types': 'off', 'react/react-in-jsx-scope': 'off' },
  },
  {
    files: ['src/**/*.{ts,tsx}'],
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    rules: { '@typescript-eslint/no-deprecated': 'error' },
  },
]);
