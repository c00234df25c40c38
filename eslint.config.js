import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Which folders a folder may not reach into: the floors of ARCHITECTURE.md. */
const ROLES = ['gateway', 'controller', 'worker', 'cli'];

const floors = [
  { of: 'platform', forbidden: ROLES },
  { of: 'worker', forbidden: ['gateway', 'controller', 'cli'] },
  { of: 'controller', forbidden: ['gateway', 'worker', 'cli'] },
  { of: 'gateway', forbidden: ['controller', 'worker', 'cli'] },
].map(({ of, forbidden }) => ({
  files: [`${of}/**/*.ts`],
  rules: {
    'no-restricted-imports': ['error', { patterns: [{ regex: `^(\\.\\./)+(${forbidden.join('|')})/`, message: `${of}/ may not import from ${forbidden.join(', ')}: roles talk over platform/protocol.` }] }],
  },
}));

export default tseslint.config(
  { ignores: ['**/node_modules/', 'data/', 'examples/*/functions/', 'test/**/fixtures/', 'worker/runtimes/node/*.cjs', 'worker/runtimes/node/*.mjs'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [...tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite', 'before', 'after', 'beforeEach', 'afterEach'] }] }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  {
    files: ['**/*.mjs', 'eslint.config.js'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly', setTimeout: 'readonly', clearTimeout: 'readonly', setInterval: 'readonly', clearInterval: 'readonly', Buffer: 'readonly', performance: 'readonly' } },
  },
  ...floors,
);
