/**
 * Progress bar: how far a long run is, drawn over itself on stderr when a person looks; otherwise nothing.
 */
import type { Terminal } from './terminal.ts';

const widthMax = 30;
const redrawIntervalMs = 100;

/** The text of a bar: done of total, the pace and the time left. */
export function formatProgress(done: number, total: number, elapsedMs: number): string {
  const filled = total === 0 ? widthMax : Math.floor((done / total) * widthMax);
  const bar = '█'.repeat(filled) + '·'.repeat(widthMax - filled);
  const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
  if (done === 0 || elapsedMs <= 0) return `${bar} ${done}/${total}  ${percent} %`;
  const perSecond = (done / elapsedMs) * 1000;
  const left = Math.ceil((total - done) / perSecond);
  return `${bar} ${done}/${total}  ${percent} %  ${perSecond.toFixed(perSecond < 10 ? 1 : 0)}/s  ${formatSeconds(left)} left`;
}

/** 75 as "1 min 15 s". */
export function formatSeconds(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes === 0 ? `${seconds} s` : `${minutes} min ${seconds % 60} s`;
}

export class ProgressBar {
  readonly #terminal: Terminal;
  readonly #total: number;
  readonly #startedAtMs = performance.now();
  #drawnAtMs = 0;

  constructor(terminal: Terminal, total: number) {
    this.#terminal = terminal;
    this.#total = total;
  }

  update(done: number): void {
    const nowMs = performance.now();
    if (!this.#terminal.showsProgress) return;
    if (done < this.#total && nowMs - this.#drawnAtMs < redrawIntervalMs) return;
    this.#drawnAtMs = nowMs;
    this.#terminal.progress(`\r\x1b[K${formatProgress(done, this.#total, nowMs - this.#startedAtMs)}`);
  }

  /** Takes the bar away. */
  clear(): void {
    if (this.#terminal.showsProgress) this.#terminal.progress('\r\x1b[K');
  }
}
