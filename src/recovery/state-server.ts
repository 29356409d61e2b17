/**
 * State server: answers the questions of a replica that fetches a checkpoint, out of a snapshot that holds it.
 *
 * In: questions. Out: parts, each of which the asker can hold against the checkpoint. Pure; an answer is made in small steps, so that whoever
 * serves it can do other things between two. Owns nothing that an asker could make grow.
 * Safety: what is served is held against the tree first: a damaged record throws `StateDamage`, and never leaves this replica.
 */
import { type Digest, digestFrom } from '../crypto/hash.ts';
import type { MerkleTree } from '../crypto/merkle.ts';
import type { StateView } from '../state/engine.ts';
import { leafChunk, openLog } from '../state/log-leaves.ts';
import { encodeNode } from '../state/node.ts';
import { nodeKey, type StatePath } from '../state/state-path.ts';
import { StateTree } from '../state/state-tree.ts';
import { subtreeEntries } from '../state/subtree.ts';
import type { TreeTable } from '../state/tables.ts';
import type { Checkpoint } from '../wire/checkpoint.ts';
import { limits } from '../wire/limits.ts';
import type { PartEntry, StateMessage, StatePart } from '../wire/state-message.ts';

type Message<Kind extends StateMessage['kind']> = Extract<StateMessage, { readonly kind: Kind }>;
export type PartAsk = Message<'state-ask'> | Message<'log-ask'>;
export type PartAnswer = Message<'state-part'> | Message<'log-part'>;

/** Entries read in one step of an answer. */
const entriesPerStep = 16;

export class StateServer {
  readonly #view: StateView;
  readonly #checkpoint: Checkpoint;
  readonly #digest: Digest;
  readonly #trees: Partial<Record<TreeTable, StateTree>> = {};
  #log: MerkleTree | undefined;

  constructor(options: { readonly view: StateView; readonly checkpoint: Checkpoint; readonly digest: Digest }) {
    this.#view = options.view;
    this.#checkpoint = options.checkpoint;
    this.#digest = options.digest;
  }

  answer(ask: PartAsk): PartAnswer {
    const steps = this.answering(ask);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /** The same, in steps. */
  *answering(ask: PartAsk): Generator<void, PartAnswer> {
    if (ask.kind === 'log-ask') return this.#logPart(ask);
    const { checkpoint, table, path } = ask;
    const part = checkpoint === this.#digest ? yield* this.#part(ask) : ({ kind: 'gone' } as const);
    return { kind: 'state-part', checkpoint, table, path, part };
  }

  *#part({ table, path, hash, nodeOnly }: Message<'state-ask'>): Generator<void, StatePart> {
    const tree = this.#tree(table);
    const node = tree.node(path);
    // Nobody who has the checkpoint asks for what is not in it.
    if (node === undefined || digestFrom(node.hash) !== hash) return { kind: 'gone' };
    const sizeBytes = node.sizeBytes + node.entryCount * limits.statePartEntryOverheadSizeBytes;
    if (node.kind === 'inner' && (nodeOnly || sizeBytes > limits.statePartSizeBytesMax)) {
      return { kind: 'node', encoded: encodeNode(node) };
    }
    const entries: PartEntry[] = [];
    for (const entry of subtreeEntries(this.#view, table, tree, path as StatePath)) {
      entries.push(entry);
      if (entries.length % entriesPerStep === 0) yield;
    }
    return { kind: 'entries', entries };
  }

  #logPart({ checkpoint, chunk }: Message<'log-ask'>): PartAnswer {
    if (checkpoint !== this.#digest) return { kind: 'log-part', checkpoint, chunk, leaves: new Uint8Array(), path: [] };
    this.#log ??= openLog(this.#view, this.#checkpoint);
    const { leaves, path } = leafChunk(this.#log, chunk) ?? { leaves: new Uint8Array(), path: [] };
    return { kind: 'log-part', checkpoint, chunk, leaves, path };
  }

  #tree(table: TreeTable): StateTree {
    const source = { node: (path: StatePath) => this.#view.get(nodeKey(table, path)) };
    const tree = this.#trees[table] ?? StateTree.at(source, this.#checkpoint[table].root);
    this.#trees[table] = tree;
    return tree;
  }
}
