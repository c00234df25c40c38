import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { generatedPages } from '../../docs/generate.ts';

for (const [path, text] of generatedPages()) {
  test(`docs/${path} says what the code says (npm run docs)`, () => {
    assert.equal(readFileSync(join(import.meta.dirname, '..', '..', 'docs', path), 'utf8'), text);
  });
}
