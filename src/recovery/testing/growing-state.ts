/**
 * Growing state: a service's past, checkpoint after checkpoint, as a replica that executed it has it in its engine; and what the service
 * signed about each.
 */
import { type Digest, sha256, sha256Bytes } from '../../crypto/hash.ts';
import { MerkleTree } from '../../crypto/merkle.ts';
import { chunkLeaves } from '../../crypto/merkle-store.ts';
import type { Change, StateSnapshot } from '../../state/engine.ts';
import { beginningChange, chunkChanges, dropLogChanges, lastChunkOf } from '../../state/log-leaves.ts';
import { MemoryEngine } from '../../state/memory-engine.ts';
import { stateKeyBytes } from '../../state/state-key.ts';
import { nodeKey } from '../../state/state-path.ts';
import { StateTree } from '../../state/state-tree.ts';
import { engineKey, type TreeTable } from '../../state/tables.ts';
import { type Checkpoint, checkpointDigest, encodeCheckpoint } from '../../wire/checkpoint.ts';
import type { CertifiedHead } from '../../wire/client-message.ts';
import { encodeHead, type Head } from '../../wire/head.ts';
import type { StateMessage } from '../../wire/state-message.ts';

export type Writes = ReadonlyMap<string, Uint8Array | undefined>;

export const serviceId = sha256(Buffer.from('transferred'));

/** What stands for the service's signature here: nobody else in a test makes it. */
export function signatureOf(head: Head): Uint8Array {
  return Buffer.concat([sha256Bytes(Buffer.concat([Buffer.from('service key'), encodeHead(head)])), Buffer.alloc(16)]);
}

export function verifyHead({ head, signature }: CertifiedHead): boolean {
  return Buffer.compare(signatureOf(head), signature) === 0;
}

/** One checkpoint, as its holder has it. */
export interface Moment {
  readonly checkpoint: Checkpoint;
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  readonly head: CertifiedHead;
  readonly offer: Extract<StateMessage, { readonly kind: 'checkpoint-offer' }>;
  readonly snapshot: StateSnapshot;
  readonly service: ReadonlyMap<string, Uint8Array>;
  readonly system: ReadonlyMap<string, Uint8Array>;
}

export class GrowingState {
  readonly engine = new MemoryEngine();
  readonly moments: Moment[] = [];
  readonly #trees = { service: this.#empty('service'), system: this.#empty('system') };
  readonly #contents = { service: new Map<string, Uint8Array>(), system: new Map<string, Uint8Array>() };
  readonly #log = new MerkleTree();
  readonly #leaves: Digest[] = [];
  readonly #logName: string;

  /** Logs of other names have other leaves. */
  constructor(logName = 'leaf') {
    this.#logName = logName;
  }

  get newest(): Moment {
    return this.moments.at(-1) as Moment;
  }

  /** The next checkpoint. `firstChunk`: of the log that this replica retains. */
  grow({
    service = new Map(),
    system = new Map(),
    leaves = 0,
    firstChunk = 0,
  }: {
    readonly service?: Writes;
    readonly system?: Writes;
    readonly leaves?: number;
    readonly firstChunk?: number;
  }): Moment {
    const changes: Change[] = [...this.#write('service', service), ...this.#write('system', system)];
    for (let i = 0; i < leaves; i++) {
      const leaf = sha256(Buffer.from(`${this.#logName} ${this.#leaves.length}`));
      this.#leaves.push(leaf);
      this.#log.append(leaf);
    }
    changes.push(...dropLogChanges(this.engine), ...this.#logChanges(firstChunk));
    void this.engine.write(changes);
    const moment = this.#sign();
    this.moments.push(moment);
    return moment;
  }

  #empty(table: TreeTable): StateTree {
    return StateTree.empty({ node: (path) => this.engine.get(nodeKey(table, path)) });
  }

  *#write(table: TreeTable, writes: Writes): Generator<Change> {
    const before = this.#trees[table];
    const tree = before.update(writes);
    this.#trees[table] = tree;
    for (const { path, encoded } of tree.changesSince(before)) {
      const isEmpty = path === '' && tree.entries === 0;
      yield { key: nodeKey(table, path), value: isEmpty ? undefined : encoded };
    }
    for (const [key, value] of writes) {
      if (value === undefined) this.#contents[table].delete(key);
      else this.#contents[table].set(key, value);
      yield { key: engineKey(table, stateKeyBytes(key)), value };
    }
  }

  *#logChanges(firstChunk: number): Generator<Change> {
    const size = this.#leaves.length;
    yield beginningChange(firstChunk, this.#log.frontier(firstChunk * chunkLeaves));
    for (let number = firstChunk; number <= lastChunkOf(size); number++) {
      const leaves = this.#leaves.slice(number * chunkLeaves, (number + 1) * chunkLeaves);
      if (leaves.length > 0) yield* chunkChanges(number, Buffer.from(leaves.join(''), 'hex'));
    }
  }

  #sign(): Moment {
    const commitIndex = 100 * (this.moments.length + 1);
    const summary = ({ root, entries, sizeBytes }: StateTree) => ({ root, entries, sizeBytes });
    const checkpoint: Checkpoint = {
      serviceId,
      epoch: 0,
      ordering: {
        commitIndex,
        commitDigest: sha256(Buffer.from(`commit ${commitIndex}`)),
        timestamp: 1_000 * commitIndex,
        horizon: commitIndex - 50,
        next: { kind: 'steady', round: commitIndex, rank: 0 },
        periodHasCommit: false,
        committed: [],
      },
      service: summary(this.#trees.service),
      system: summary(this.#trees.system),
      logSize: this.#log.size,
      logFrontier: this.#log.frontier(),
      sessions: { expiredBirths: 0, admissions: 0 },
      membershipDigest: serviceId,
      nextMembership: undefined,
    };
    const encoded = encodeCheckpoint(checkpoint);
    const digest = checkpointDigest(encoded);
    const head: Head = {
      serviceId,
      epoch: 0,
      commitIndex,
      logSize: this.#log.size,
      logRoot: this.#log.root(),
      stateRoot: checkpoint.service.root,
      checkpoint: digest,
      timestamp: 1_000 * commitIndex,
    };
    const signature = signatureOf(head);
    return {
      checkpoint,
      encoded,
      digest,
      head: { head, signature },
      offer: { kind: 'checkpoint-offer', head: encodeHead(head), signature, checkpoint: encoded },
      snapshot: this.engine.snapshot(),
      service: new Map(this.#contents.service),
      system: new Map(this.#contents.system),
    };
  }
}
