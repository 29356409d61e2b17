import { expect, test } from 'vitest';
import { domains } from './domain.ts';

// That the tags stay what they are is shown by golden.test.ts, which lists every one.

test('no tag is another or the beginning of another: what is signed for one purpose never reads as something else', () => {
  const tags = Object.entries(domains).map(([name, bytes]) => ({ name, text: Buffer.from(bytes).toString('latin1') }));
  for (const a of tags) {
    for (const b of tags) {
      if (a !== b) expect(b.text.startsWith(a.text), `${a.name} begins ${b.name}`).toBe(false);
    }
  }
});
