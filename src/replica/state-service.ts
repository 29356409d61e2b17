/**
 * State service: gives checkpoints to replicas that fetch them, beside the event loop, which is not to wait.
 *
 * In: stable checkpoints with snapshots that hold them, questions. Out: offers and parts to send. Owns the snapshots: the newest, and
 * one more while somebody fetches it; each keeps pages of the engine from being used again, so none is held for long.
 * Abuse: answers are made in slices of a few milliseconds, one asker after another; where the event loop has other work too, a rest
 * follows each slice. So whoever asks all the time costs a bounded share of the thread, and keeps no other asker waiting. What one asks
 * beyond a bounded number of questions is dropped, and so are offers that come too fast after each other.
 * Safety: what is damaged here is not served (`recovery/state-server.ts`); the asker is told that it is gone.
 */
import { monotonicMs, setTimer } from '../platform/clock.ts';
import { type PartAnswer, type PartAsk, StateServer } from '../recovery/state-server.ts';
import type { StateSnapshot } from '../state/engine.ts';
import { encodeHead } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import { readStored } from './engine-notes.ts';

/** One asker is told of our checkpoint no more often than this; a transfer asks less often. */
const offerRestMs = limits.checkpointAskDelayMsMin / 2;
/** Time of others in one turn of the event loop above which they have work. */
const othersBusyMs = 0.5;

interface Held {
  readonly stable: StableCheckpoint;
  readonly snapshot: StateSnapshot;
  readonly server: StateServer;
  readonly sinceMs: number;
  askedAtMs: number;
}

export interface StateServiceOptions {
  readonly send: (to: number, message: PeerMessage) => void;
  /** The state could not be read for another replica: it is damaged, or the disk failed. */
  readonly failed: (error: unknown) => void;
  readonly nowMs?: () => number;
}

export class StateService {
  readonly #options: StateServiceOptions;
  readonly #nowMs: () => number;
  /** Oldest first. */
  #held: readonly Held[] = [];
  /** By asker, whose turn it is first. */
  readonly #asks = new Map<number, PartAsk[]>();
  readonly #offeredAtMs = new Map<number, number>();
  #isServing = false;

  constructor(options: StateServiceOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? monotonicMs;
  }

  /** Digests of what others can fetch here, oldest first. */
  get held(): readonly string[] {
    return this.#held.map(({ stable }) => stable.digest);
  }

  /** A checkpoint is stable. The snapshot, which is ours from now on, holds it or a later one. */
  stable({ snapshot, ...stable }: StableCheckpoint & { readonly snapshot: StateSnapshot }): void {
    try {
      if (readStored(snapshot)?.digest !== stable.digest) {
        snapshot.close();
        return;
      }
    } catch (error) {
      snapshot.close();
      this.#options.failed(error);
      return;
    }
    const nowMs = this.#nowMs();
    const server = new StateServer({ ...stable, view: snapshot });
    const held = { stable, snapshot, server, sinceMs: nowMs, askedAtMs: Number.NEGATIVE_INFINITY };
    this.#keep([...this.#inUse(nowMs).slice(0, limits.stateSnapshotsMax - 1), held]);
  }

  take(from: number, message: PeerMessage): void {
    switch (message.kind) {
      case 'checkpoint-ask':
        this.offer(from);
        return;
      case 'state-ask':
      case 'log-ask': {
        const asks = this.#asks.get(from) ?? [];
        if (asks.length >= limits.stateAsksWaitingMax) return;
        asks.push(message);
        this.#asks.set(from, asks);
        if (!this.#isServing) void this.#serve();
      }
    }
  }

  /** Tells a replica which checkpoint it can have here, if any. */
  offer(to: number): void {
    const newest = this.#held.at(-1);
    const nowMs = this.#nowMs();
    if (newest === undefined || nowMs < (this.#offeredAtMs.get(to) ?? Number.NEGATIVE_INFINITY) + offerRestMs) return;
    this.#offeredAtMs.set(to, nowMs);
    const { head, encoded } = newest.stable;
    const { signature } = head;
    this.#options.send(to, { kind: 'checkpoint-offer', head: encodeHead(head.head), signature, checkpoint: encoded });
  }

  /** Lets go of everything; what is asked from now on is gone until another checkpoint is stable. */
  close(): void {
    this.#keep([]);
  }

  /** Those that somebody fetches, and has not fetched for too long. */
  #inUse(nowMs: number): readonly Held[] {
    return this.#held.filter(
      ({ sinceMs, askedAtMs }) =>
        nowMs < askedAtMs + limits.stateSnapshotIdleMs && nowMs < sinceMs + limits.stateSnapshotAgeMsMax,
    );
  }

  #keep(held: readonly Held[]): void {
    for (const each of this.#held) if (!held.includes(each)) each.snapshot.close();
    this.#held = held;
  }

  /** Until nobody asks. Never rejects. */
  async #serve(): Promise<void> {
    this.#isServing = true;
    let sliceBeganAtMs = this.#nowMs();
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { from, ask } = next;
      const held = this.#holderOf(ask);
      const steps = held?.server.answering(ask);
      let answer: PartAnswer | undefined;
      while (answer === undefined) {
        try {
          // A snapshot that was let go of meanwhile answers nothing any more.
          const step = held !== undefined && this.#held.includes(held) ? steps?.next() : undefined;
          if (step === undefined) answer = goneOf(ask);
          else if (step.done === true) answer = step.value;
        } catch (error) {
          this.#keep(this.#held.filter((each) => each !== held));
          this.#options.failed(error);
          answer = goneOf(ask);
        }
        if (this.#nowMs() - sliceBeganAtMs >= limits.stateAnswerSliceMs) {
          await this.#pause();
          sliceBeganAtMs = this.#nowMs();
        }
      }
      this.#options.send(from, answer);
    }
    this.#isServing = false;
  }

  /** The next question of the asker who has not been answered for longest. */
  #next(): { readonly from: number; readonly ask: PartAsk } | undefined {
    for (const [from, asks] of this.#asks) {
      this.#asks.delete(from);
      const [ask, ...left] = asks;
      if (left.length > 0) this.#asks.set(from, left);
      if (ask !== undefined) return { from, ask };
    }
    return undefined;
  }

  #holderOf({ checkpoint }: PartAsk): Held | undefined {
    const held = this.#held.find(({ stable }) => stable.digest === checkpoint);
    if (held !== undefined) held.askedAtMs = this.#nowMs();
    return held;
  }

  /** Lets the event loop through; for longer when others had work in it. */
  async #pause(): Promise<void> {
    const beganAtMs = this.#nowMs();
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#nowMs() - beganAtMs < othersBusyMs) return;
    await new Promise<void>((resolve) => {
      setTimer(limits.stateAnswerSliceMs * limits.stateAnswerRestFactor, resolve, { background: true });
    });
  }
}

function goneOf(ask: PartAsk): PartAnswer {
  const { checkpoint } = ask;
  if (ask.kind === 'log-ask') {
    return { kind: 'log-part', checkpoint, chunk: ask.chunk, leaves: new Uint8Array(), path: [] };
  }
  return { kind: 'state-part', checkpoint, table: ask.table, path: ask.path, part: { kind: 'gone' } };
}
