import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { orderedName, orderedPrefix, orderedStart, sharedBeginning, textOfName } from '../../../platform/object-store/ordered-names.ts';
import { compareUtf8 } from '../../../platform/object-store/utf8-order.ts';

const piece = fc.constantFrom('a', 'b', 'A', '0', '-', '.', '/', '_', '~', '!', '=', ' ', '\u0001', '\u007f', 'é', '\ud7ff', '\ue000', '\uffff', '😀', '\u{10ffff}', 'x'.repeat(99), 'x'.repeat(200));
const text = fc.array(piece, { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join('')).filter((each) => each.length <= 512);
const longText = fc.tuple(fc.constantFrom('é'.repeat(130), 'é'.repeat(140), '😀'.repeat(256), '/'.repeat(266), '/'.repeat(267)), text).map(([head, tail]) => head + tail);

test('names stand in the order of the texts, and lead back to them', () => {
  fc.assert(
    fc.property(text, text, (left, right) => {
      assert.equal(Math.sign(compareUtf8(orderedName(left).name, orderedName(right).name)), Math.sign(compareUtf8(left, right)));
      assert.equal(textOfName(orderedName(left).name), left);
    }),
    { numRuns: 3_000 },
  );
});

test('names of texts that begin alike begin alike, and only theirs', () => {
  fc.assert(
    fc.property(text, text, fc.nat({ max: 8 }), (whole, other, length) => {
      const prefix = [...other].slice(0, length).join('');
      assert.equal(orderedName(whole).name.startsWith(orderedPrefix(prefix)), whole.startsWith(prefix));
    }),
    { numRuns: 3_000 },
  );
});

test('names of long texts are near enough to their order to find them', () => {
  fc.assert(
    fc.property(fc.oneof(text, longText), fc.oneof(text, longText), (left, right) => {
      const [one, other] = [orderedName(left), orderedName(right)];
      assert.equal(one.name === other.name, left === right);
      assert.ok(one.name.startsWith(orderedPrefix(left.slice(0, 200).toWellFormed() === left.slice(0, 200) ? left.slice(0, 200) : left)));
      const together = one.isShortened && sharedBeginning(one.name) === sharedBeginning(other.name);
      if (!together) assert.equal(Math.sign(compareUtf8(one.name, other.name)), Math.sign(compareUtf8(left, right)));
      if (compareUtf8(left, right) > 0) assert.ok(compareUtf8(one.name, orderedStart(right)) > 0);
      if (one.isShortened) assert.equal(textOfName(one.name), undefined);
    }),
    { numRuns: 3_000 },
  );
});

test('any store can keep names, and none lies below another', () => {
  fc.assert(
    fc.property(fc.oneof(text, longText), fc.oneof(text, longText), (left, right) => {
      const { name } = orderedName(left);
      assert.match(name, /^[A-Za-z0-9!.=_~/-]+$/);
      assert.ok(name.length <= 900);
      for (const part of name.split('/')) assert.ok(part !== '' && part !== '.' && part !== '..' && part.length <= 210, part);
      assert.ok(!orderedName(right).name.startsWith(`${name}/`));
    }),
    { numRuns: 3_000 },
  );
});

test('what is no name has no text', () => {
  for (const name of ['', '!', 'a', 'a!b', '.2!', '.zz!', '~ff!', 'a/b!', '.61!']) assert.equal(textOfName(name), name === '!' ? '' : undefined, name);
});
