import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { percentDecoded } from '../../../platform/percent-encoding.ts';

describe('percent-encoding', () => {
  it('gives back what was encoded', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(percentDecoded(encodeURIComponent(text)), text)));
  });

  it('never throws, and leaves text without % as it is', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const plain = percentDecoded(text);
        if (!text.includes('%')) assert.equal(plain, text);
      }),
    );
  });

  for (const text of ['%', 'a%', '%zz', '%E0', '%C0%80', '100%']) it(`knows nothing that ${text} stands for`, () => assert.equal(percentDecoded(text), undefined));
});
