/**
 * Mortal: a disk in the hands of a replica that may die before and after each write. What was under way then stays without an answer.
 */
import type { Change, Range, StateEngine, StateSnapshot } from '../src/state/engine.ts';
import type { BlockLog, LogPosition, LogRecord } from '../src/storage/block-log.ts';

/** One life of a replica. */
export interface Life {
  readonly isOver: () => boolean;
  /** A moment at which it may die; false when it has. */
  readonly survives: () => boolean;
}

/** What a dead replica waits for. */
export const never = new Promise<never>(() => {});

/** Does the work, unless the life ends before or after it. */
async function act<T>(life: Life, work: () => Promise<T>): Promise<T> {
  if (!life.survives()) return never;
  // What a crash overtakes is rejected, and nobody is there to hear of it.
  const result = await work().catch((error: unknown) => (life.isOver() ? never : Promise.reject(error)));
  return life.survives() ? result : never;
}

export class MortalEngine implements StateEngine {
  readonly #engine: StateEngine;
  readonly #life: Life;

  constructor(engine: StateEngine, life: Life) {
    this.#engine = engine;
    this.#life = life;
  }

  get sizeBytes(): number {
    return this.#engine.sizeBytes;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#engine.get(key);
  }

  keys(range: Range): Iterable<Uint8Array> {
    return this.#engine.keys(range);
  }

  entries(range: Range): Iterable<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    return this.#engine.entries(range);
  }

  write(changes: Iterable<Change>): Promise<void> {
    return act(this.#life, () => this.#engine.write(changes));
  }

  snapshot(): StateSnapshot {
    return this.#engine.snapshot();
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

export class MortalLog implements BlockLog {
  readonly #log: BlockLog;
  readonly #life: Life;
  readonly #appended: () => void;

  /** `appended`: told when an append is durable, unless it died of that. */
  constructor(log: BlockLog, life: Life, appended = (): void => {}) {
    this.#log = log;
    this.#life = life;
    this.#appended = appended;
  }

  get begin(): LogPosition {
    return this.#log.begin;
  }

  get end(): LogPosition {
    return this.#log.end;
  }

  get droppedRound(): number {
    return this.#log.droppedRound;
  }

  async append(records: readonly Uint8Array[]): Promise<readonly LogPosition[]> {
    const positions = await act(this.#life, () => this.#log.append(records));
    this.#appended();
    return positions;
  }

  dropBefore(position: LogPosition, round?: number): Promise<void> {
    return act(this.#life, () => this.#log.dropBefore(position, round));
  }

  read(from: LogPosition, sizeBytesMax: number): Promise<readonly LogRecord[]> {
    return this.#log.read(from, sizeBytesMax);
  }

  close(): Promise<void> {
    return this.#log.close();
  }
}
