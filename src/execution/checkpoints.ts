/**
 * Checkpoints: when one is taken, and what it is made of (docs/protocol/checkpoints.md §3, normative).
 *
 * In: at a commit with a due head, the state, the sessions, the log, and what only the caller knows. Out: the checkpoint, and all
 * that an engine lacks which holds the one before. Owns the system tree. When one is taken is a function of the commits alone.
 * Nothing here looks at what has not changed, and what the engine is to hold is encoded when it takes it: so a commit with a
 * checkpoint takes about as long as one without.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Change, StateView } from '../state/engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import type { StateStore } from '../state/state-store.ts';
import { StoredTree } from '../state/stored-tree.ts';
import { engineKey } from '../state/tables.ts';
import { type Checkpoint, checkpointDigest, encodeCheckpoint, type OrderingFrontier } from '../wire/checkpoint.ts';
import { noCheckpoint } from '../wire/head.ts';
import { limits } from '../wire/limits.ts';
import type { CommitEnd, RequestLog } from './request-log.ts';
import type { RestoredExecution } from './restored-execution.ts';
import type { Sessions } from './sessions.ts';

/** What a checkpoint says that execution does not know. */
export interface CheckpointParts {
  /** After the commit in hand. */
  readonly ordering: OrderingFrontier;
  readonly membershipDigest: Digest;
  /** Of the next membership, when this commit closes the epoch. */
  readonly nextMembership?: Digest | undefined;
  /** System entries that are not of sessions, all of them: where the epoch stands, and the duties about the service key. */
  readonly system: ReadonlyMap<string, Uint8Array>;
}

export interface TakenCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  /** What makes an engine that holds the checkpoint before hold this one. Made anew whenever it is iterated over. */
  readonly changes: Iterable<Change>;
}

/** What execution has, and checkpoints sum up. */
export interface CheckpointSources {
  readonly state: StateStore;
  readonly sessions: Sessions;
  readonly log: RequestLog;
}

export interface CheckpointOptions {
  readonly serviceId: Digest;
  readonly epoch: number;
  /** Agreed time between two checkpoints, at least, unless much is written. */
  readonly checkpointIntervalMs?: number | undefined;
  /** Undefined: there can be none yet. Asked within the step of a commit at which a checkpoint is due. */
  readonly parts?: (() => CheckpointParts | undefined) | undefined;
  readonly from?: RestoredExecution | undefined;
}

export class Checkpoints {
  readonly #options: CheckpointOptions;
  readonly #sources: CheckpointSources;
  readonly #tree: StoredTree;
  /** System entries that are not of sessions, as the last checkpoint has them. */
  #others: ReadonlyMap<string, Uint8Array>;
  #last: Pick<CommitEnd, 'commitIndex' | 'timestamp'> | undefined;
  #digest: Digest;
  /** Taken, and not in the engine; oldest first. */
  #unstored: readonly { readonly digest: Digest; readonly logSize: number }[] = [];

  constructor(engine: StateView, sources: CheckpointSources, options: CheckpointOptions) {
    const { from } = options;
    this.#options = options;
    this.#sources = sources;
    this.#tree = new StoredTree({ engine, table: 'system', root: from?.checkpoint.system.root });
    this.#others = from?.others ?? new Map();
    this.#last = from?.checkpoint.ordering;
    this.#digest = from?.digest ?? noCheckpoint;
  }

  /** Of the last one; `noCheckpoint` before the first. */
  get digest(): Digest {
    return this.#digest;
  }

  /**
   * Takes one when it is time, or when the commit closes the epoch. To be asked after each commit with a due head, before that
   * head is made.
   */
  takeIfDue(end: CommitEnd, isClosing = false): TakenCheckpoint | undefined {
    if (!isClosing && !this.#isDue(end)) return undefined;
    const parts = this.#options.parts?.();
    if (isClosing && parts?.nextMembership === undefined) {
      throw new Error('invariant: an epoch closes with a checkpoint that names the next membership');
    }
    if (parts === undefined) return undefined;
    // Twins can be more than are counted with. Nobody could read such a checkpoint; the horizon will pass them.
    if (parts.ordering.committed.length > limits.checkpointBlocksMax) return undefined;
    if (parts.ordering.commitIndex !== end.commitIndex) {
      throw new Error(`invariant: a checkpoint after commit ${end.commitIndex} of an ordering at another`);
    }
    return this.#take(parts);
  }

  /** The engine holds this one. */
  stored(digest: Digest): void {
    const index = this.#unstored.findIndex((each) => each.digest === digest);
    if (index < 0) throw new Error('invariant: a checkpoint was stored that is not waiting for it');
    const { state, log } = this.#sources;
    for (const { logSize } of this.#unstored.slice(0, index + 1)) {
      state.stored();
      this.#tree.stored();
      log.stored(logSize);
    }
    this.#unstored = this.#unstored.slice(index + 1);
  }

  #isDue({ commitIndex, timestamp }: CommitEnd): boolean {
    const last = this.#last;
    if (last === undefined) return true;
    const { state, sessions } = this.#sources;
    return (
      timestamp - last.timestamp >= (this.#options.checkpointIntervalMs ?? 0) ||
      commitIndex - last.commitIndex >= limits.checkpointCommitsMax ||
      state.changedEntries >= limits.checkpointEntriesMax ||
      sessions.changedSessions >= limits.checkpointSessionsMax ||
      state.changedSizeBytes >= limits.checkpointSizeBytesMax
    );
  }

  #take({ ordering, membershipDigest, nextMembership, system }: CheckpointParts): TakenCheckpoint {
    const { state, sessions, log } = this.#sources;
    const { serviceId, epoch } = this.#options;
    const writes = sessions.changes();
    for (const [key, value] of changed(this.#others, system)) writes.set(key, value);
    const checkpoint = {
      serviceId,
      epoch,
      ordering,
      service: state.summary(),
      system: this.#tree.update(writes),
      logSize: log.size,
      logFrontier: log.frontier(),
      sessions: sessions.counters,
      membershipDigest,
      nextMembership,
    };
    const encoded = encodeCheckpoint(checkpoint);
    const digest = checkpointDigest(encoded);
    const changes = joined([state.freeze(), systemChanges(writes), this.#tree.freeze(), log.changes()]);
    this.#others = new Map(system);
    this.#last = ordering;
    this.#digest = digest;
    this.#unstored = [...this.#unstored, { digest, logSize: log.size }];
    return { checkpoint, encoded, digest, changes };
  }
}

/** What makes the first entries the second. */
function* changed(
  before: ReadonlyMap<string, Uint8Array>,
  after: ReadonlyMap<string, Uint8Array>,
): Generator<[string, Uint8Array | undefined]> {
  for (const key of before.keys()) if (!after.has(key)) yield [key, undefined];
  for (const [key, value] of after) {
    const old = before.get(key);
    if (old === undefined || Buffer.compare(old, value) !== 0) yield [key, value];
  }
}

function systemChanges(writes: ReadonlyMap<string, Uint8Array | undefined>): Iterable<Change> {
  return {
    *[Symbol.iterator]() {
      for (const [key, value] of writes) yield { key: engineKey('system', stateKeyBytes(key)), value };
    },
  };
}

function joined(parts: readonly Iterable<Change>[]): Iterable<Change> {
  return {
    *[Symbol.iterator]() {
      for (const part of parts) yield* part;
    },
  };
}
