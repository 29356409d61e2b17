/**
 * Clock: the only place that reads the time or sets a timer.
 *
 * Out: milliseconds. Nothing safe may hang on them: the clock of a replica may lie or jump.
 */

/** Milliseconds since 1970, a whole number. */
export function now(): number {
  return Date.now();
}

/** Milliseconds since some fixed moment of this process; never goes back. */
export function monotonicMs(): number {
  return performance.now();
}

export interface Timer {
  cancel(): void;
}

/** Runs `task` once, after at least `delayMs`. The timer alone does not keep the process alive when `background`. */
export function setTimer(delayMs: number, task: () => void, { background = false } = {}): Timer {
  const timer = setTimeout(task, Math.max(0, delayMs));
  if (background) timer.unref();
  return { cancel: () => clearTimeout(timer) };
}
