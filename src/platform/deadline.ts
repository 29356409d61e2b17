/**
 * Deadline: a signal that aborts after a time, or as soon as one of others does.
 *
 * In place of `AbortSignal.any` with `AbortSignal.timeout`: Node 20 collects such a signal as garbage while somebody waits
 * for it, and it never aborts (a test shows it). The timer does not keep the process alive.
 */
import { setTimer } from './clock.ts';

export interface Deadline {
  readonly signal: AbortSignal;
  /** Nobody waits any more: lets go of the timer and of the other signals. To be called in every case. */
  end(): void;
}

/** Aborts after `delayMs` with a `TimeoutError`, or when one of `others` aborts, with its reason. */
export function deadlineAfter(delayMs: number, others: readonly (AbortSignal | undefined)[] = []): Deadline {
  const controller = new AbortController();
  const timedOut = (): void => controller.abort(new DOMException('the deadline has passed', 'TimeoutError'));
  const timer = setTimer(delayMs, timedOut, { background: true });
  const following: (() => void)[] = [];
  for (const other of others) {
    if (other === undefined) continue;
    const abort = (): void => controller.abort(other.reason);
    if (other.aborted) abort();
    other.addEventListener('abort', abort, { once: true });
    following.push(() => other.removeEventListener('abort', abort));
  }
  return {
    signal: controller.signal,
    end: () => {
      timer.cancel();
      for (const stop of following) stop();
    },
  };
}
