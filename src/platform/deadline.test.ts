/**
 * Shows that a deadline aborts when it should, whatever the garbage collector does meanwhile, and lets go afterwards.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { deadlineAfter } from './deadline.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('a deadline', () => {
  it('passes although nobody but a listener knows of it, garbage collected or not', async () => {
    let passed = 0;
    const stopped = new AbortController();
    for (let i = 0; i < 50; i++) {
      const gone = new AbortController();
      const { signal } = deadlineAfter(20, [deadlineAfter(10_000, [gone.signal, stopped.signal]).signal]);
      signal.addEventListener('abort', () => {
        passed += 1;
      });
    }
    for (let i = 0; i < 6; i++) {
      collectGarbage();
      await sleep(20);
    }
    expect(passed).toBe(50);
  });

  it('says that time is over, or the reason of the signal that came before', async () => {
    const other = new AbortController();
    const first = deadlineAfter(10_000, [undefined, other.signal]);
    other.abort('enough');
    expect(first.signal.reason).toBe('enough');
    expect(deadlineAfter(10_000, [other.signal]).signal.reason).toBe('enough');
    const { signal } = deadlineAfter(1);
    await sleep(50);
    expect(signal.reason).toMatchObject({ name: 'TimeoutError' });
  });

  it('does nothing any more once it was ended', async () => {
    const other = new AbortController();
    const deadline = deadlineAfter(5, [other.signal]);
    deadline.end();
    other.abort();
    await sleep(30);
    expect(deadline.signal.aborted).toBe(false);
  });
});
