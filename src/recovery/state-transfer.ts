/**
 * State transfer: gets a replica the state of the newest checkpoint it can find, from others that it does not trust.
 *
 * In: offers and parts from other replicas, links that come up, that changes are durable, time. Out: questions, changes for the engine,
 * evidence, progress; at last the checkpoint that the engine holds. A pure machine; docs/protocol/state-transfer.md is normative.
 * One algorithm for all: an empty engine, one whose transfer was interrupted, another checkpoint, a state that diverged or
 * rotted. What is here and right is kept, what is missing or wrong is fetched, what is too much is removed.
 * Safety: nothing is written that a hash under the service's signature does not demand. Times decide whom to ask, nothing else.
 * Liveness: as long as one correct replica has a checkpoint for long enough and answers, it ends.
 * Trust: an attacker who controls this decides what this replica's state is; those it asks can at most be slow.
 */
import { digestFrom } from '../crypto/hash.ts';
import type { Membership } from '../membership/membership.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import type { TreeTable } from '../state/tables.ts';
import type { CertifiedHead } from '../wire/client-message.ts';
import { limits } from '../wire/limits.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import type { StatePart } from '../wire/state-message.ts';
import { Asks, type Wanted } from './asks.ts';
import type { Offer, TransferEffects, TransferEvidence, TransferInput, TransferProgress } from './effects.ts';
import { LogTransfer } from './log-transfer.ts';
import { indexOf, Offers } from './offers.ts';
import { ReadAllowance } from './read-allowance.ts';
import { Staged } from './staged.ts';
import { Sweep } from './sweep.ts';
import { TreeTransfer } from './tree-transfer.ts';
import { VerifiedSubtrees } from './verified-subtrees.ts';

export interface StateTransferOptions {
  readonly membership: Pick<Membership, 'serviceId' | 'epoch' | 'epochGenesis' | 'members'>;
  readonly self: number;
  /** Is this the service's signature of the head? */
  readonly verifyHead: (head: CertifiedHead) => boolean;
  /** The engine that is to hold the checkpoint, whatever it holds now. */
  readonly staged: StateView;
  /** Checkpoints of earlier commits are of no use. */
  readonly notBelow: number;
  /** Leaves of the log that are to be there, if others have them. */
  readonly retainedLeaves: number;
}

type Message<Kind extends PeerMessage['kind']> = Extract<PeerMessage, { readonly kind: Kind }>;

/** What makes up one checkpoint. */
interface Parts {
  readonly log: LogTransfer;
  /** Sessions first: they are few. */
  readonly trees: Readonly<Record<TreeTable, TreeTransfer>>;
}

const nodeAskSizeBytes = limits.stateNodeSizeBytesMax;

export class StateTransfer {
  readonly #options: StateTransferOptions;
  readonly #peers: readonly number[];
  readonly #dropped = new Set<number>();
  readonly #offers: Offers;
  readonly #asks = new Asks();
  readonly #verified = new VerifiedSubtrees();
  readonly #staged: Staged;
  #target: Offer | undefined;
  #parts: Parts | undefined;
  #sweep: Sweep | undefined;
  #isDone = false;
  #damage: StateDamage | undefined;
  #offersAskedDelayMs: number = limits.checkpointAskDelayMsMin;
  #offersAskedAgainAtMs = Number.NEGATIVE_INFINITY;
  #bytesReceived = 0;
  #send: { readonly to: number; readonly message: PeerMessage }[] = [];
  #evidence: TransferEvidence[] = [];

  constructor(options: StateTransferOptions) {
    const { membership, self, verifyHead, notBelow, staged } = options;
    this.#options = options;
    this.#peers = membership.members.map((_, index) => index).filter((index) => index !== self);
    const { serviceId, epoch, epochGenesis } = membership;
    this.#offers = new Offers({ serviceId, epoch, epochGenesis, notBelow, verifyHead });
    this.#staged = new Staged(staged);
  }

  /** Takes inputs in order, looks at what is here, then asks. `nowMs`: milliseconds that never go back. */
  step(inputs: readonly TransferInput[], nowMs: number): TransferEffects {
    for (const input of inputs) this.#take(input, nowMs);
    if (!this.#isDone && this.#damage === undefined) this.#goOn(nowMs);
    const [send, evidence] = [this.#send, this.#evidence];
    this.#send = [];
    this.#evidence = [];
    return {
      changes: this.#staged.take(),
      send,
      evidence,
      progress: this.#progress(),
      done: this.#isDone ? this.#target : undefined,
      damage: this.#damage,
      isUnfinished: this.#isUnfinished(),
      wakeAtMs: this.#wakeAtMs(nowMs),
    };
  }

  #take(input: TransferInput, nowMs: number): void {
    switch (input.kind) {
      case 'written':
        this.#staged.written();
        return;
      case 'connected':
        if (!this.#isAsked(input.peer)) return;
        this.#asks.lose(input.peer);
        this.#send.push({ to: input.peer, message: { kind: 'checkpoint-ask' } });
        return;
      case 'peer-message':
        if (this.#isAsked(input.from)) this.#takeMessage(input.from, input.message, nowMs);
    }
  }

  /** Does it make sense to talk to this replica? */
  #isAsked(peer: number): boolean {
    return !this.#isDone && this.#peers.includes(peer) && !this.#dropped.has(peer);
  }

  #takeMessage(from: number, message: PeerMessage, nowMs: number): void {
    switch (message.kind) {
      case 'checkpoint-offer': {
        const broken = this.#offers.take(from, message, this.#target);
        if (broken !== undefined) this.#drop(from, broken);
        return;
      }
      case 'state-part':
        if (message.checkpoint === this.#target?.digest) this.#takePart(from, message, nowMs);
        return;
      case 'log-part':
        if (message.checkpoint === this.#target?.digest) this.#takeChunk(from, message, nowMs);
    }
  }

  #takePart(from: number, { table, path, part }: Message<'state-part'>, nowMs: number): void {
    const name = nameOfPart(table, path);
    const { isAwaited, isOpen } = this.#asks.came(from, name, nowMs);
    // A late or a repeated answer looks like one that nobody asked for: it costs the sender as much as us.
    if (!isAwaited) return;
    if (part.kind === 'gone') {
      this.#asks.lose(from);
      this.#isGone(from, nowMs);
      return;
    }
    this.#bytesReceived += sizeOfPart(part);
    if (!isOpen) return;
    if (this.#parts?.trees[table].take(path, part, from) === true) this.#asks.done(name);
    else this.#drop(from, 'part: not what the hash demands');
  }

  #takeChunk(from: number, { chunk, leaves, path }: Message<'log-part'>, nowMs: number): void {
    const name = nameOfChunk(chunk);
    const { isAwaited, isOpen } = this.#asks.came(from, name, nowMs);
    if (!isAwaited) return;
    if (leaves.length === 0) {
      this.#asks.lacks(from, name);
      return;
    }
    this.#bytesReceived += leaves.length;
    if (!isOpen) return;
    if (this.#parts?.log.take({ number: chunk, leaves, path }) === true) this.#asks.done(name);
    else this.#drop(from, 'log chunk: not of the log');
  }

  /** It lied: whatever else it says is not worth our while. */
  #drop(peer: number, rule: string): void {
    if (this.#dropped.has(peer)) return;
    const digest = this.#target?.digest;
    this.#evidence.push({ kind: 'rejection', rule: `state transfer: ${rule}`, from: peer, author: undefined, digest });
    this.#dropped.add(peer);
    this.#offers.drop(peer, this.#target);
    this.#asks.lose(peer);
  }

  /** It does not have the checkpoint any more, or does as if it had not: it is asked which one it has. */
  #isGone(peer: number, nowMs: number): void {
    if (this.#target === undefined) return;
    this.#offers.gone(peer, this.#target.digest, this.#target);
    this.#offersAskedDelayMs = limits.checkpointAskDelayMsMin;
    this.#offersAskedAgainAtMs = Math.min(this.#offersAskedAgainAtMs, nowMs + this.#offersAskedDelayMs);
  }

  #goOn(nowMs: number): void {
    for (const silent of this.#asks.tick(nowMs)) this.#isGone(silent, nowMs);
    if (this.#sweep === undefined) {
      this.#askForOffers(nowMs);
      this.#choose();
    }
    try {
      if (this.#sweep === undefined) this.#fetch(nowMs);
      if (this.#sweep !== undefined) this.#finish(this.#sweep);
    } catch (error) {
      if (!(error instanceof StateDamage)) throw error;
      this.#damage = error;
    }
  }

  /** Asks those who do not have the checkpoint that is fetched which one they have. */
  #askForOffers(nowMs: number): void {
    if (nowMs < this.#offersAskedAgainAtMs) return;
    for (const to of this.#withoutTarget()) this.#send.push({ to, message: { kind: 'checkpoint-ask' } });
    this.#offersAskedAgainAtMs = nowMs + this.#offersAskedDelayMs;
    this.#offersAskedDelayMs = Math.min(2 * this.#offersAskedDelayMs, limits.checkpointAskDelayMsMax);
  }

  #withoutTarget(): readonly number[] {
    const digest = this.#target?.digest;
    const asked = this.#peers.filter((peer) => this.#isAsked(peer));
    return digest === undefined ? asked : asked.filter((peer) => !this.#offers.holds(peer, digest));
  }

  /** Moves on to a newer checkpoint when that is held by at least as many, some of whom lack this one. */
  #choose(): void {
    const { newest } = this.#offers;
    const target = this.#target;
    if (newest === undefined) return;
    if (target !== undefined) {
      if (indexOf(newest) <= indexOf(target)) return;
      const holders = this.#offers.holdersOf(target.digest);
      const newHolders = this.#offers.holdersOf(newest.digest);
      const isBetter = newHolders.some((peer) => !holders.includes(peer)) && newHolders.length >= holders.length;
      if (holders.length > 0 && !isBetter) return;
    }
    this.#begin(newest);
  }

  #begin(target: Offer): void {
    const { service, system } = target.checkpoint;
    const staged = this.#staged;
    const verified = this.#verified;
    const misled = (from: number): void => this.#drop(from, 'part: counts of entries that are not under the node');
    this.#target = target;
    this.#asks.clear();
    verified.expect(service.sizeBytes);
    this.#parts = {
      log: new LogTransfer({ staged, log: target.checkpoint, leavesRetained: this.#options.retainedLeaves }),
      trees: {
        system: new TreeTransfer({ staged, table: 'system', summary: system, verified, misled }),
        service: new TreeTransfer({ staged, table: 'service', summary: service, verified, misled }),
      },
    };
  }

  #fetch(nowMs: number): void {
    const parts = this.#parts;
    const target = this.#target;
    if (parts === undefined || target === undefined) return;
    const { log, trees } = parts;
    if (this.#mayGoOn()) {
      const allowance = new ReadAllowance();
      for (const each of [log, trees.system, trees.service]) each.look(allowance);
      const holders = this.#offers.holdersOf(target.digest);
      this.#giveUp(holders, log, nowMs);
      for (const { to, wanted } of this.#asks.hand(holders, () => this.#next(parts, target), nowMs)) {
        this.#send.push({ to, message: wanted.message });
      }
    }
    const [system, service] = [trees.system.finished, trees.service.finished];
    if (!log.isDone || system === undefined || service === undefined || !this.#staged.isWritten) return;
    this.#asks.clear();
    const nodeCounts = { system: system.nodeCount, service: service.nodeCount };
    const { checkpoint } = target;
    this.#sweep = new Sweep({ staged: this.#staged, checkpoint, nodeCounts, firstChunk: log.firstChunk });
  }

  #finish(sweep: Sweep): void {
    if (this.#mayGoOn()) sweep.step(new ReadAllowance());
    this.#isDone = sweep.isDone && this.#staged.isWritten;
  }

  /** What is verified is written before more is asked for. */
  #mayGoOn(): boolean {
    return this.#staged.unwrittenSizeBytes <= limits.stateUnwrittenSizeBytesMax;
  }

  /** Chunks of the log that nobody has are done without. Who lacks the last one does not have the checkpoint. */
  #giveUp(holders: readonly number[], log: LogTransfer, nowMs: number): void {
    if (holders.length === 0) return;
    for (const name of this.#asks.lackedByAll(holders)) {
      if (log.giveUp(chunkOfName(name))) this.#asks.done(name);
      else for (const peer of holders) this.#isGone(peer, nowMs);
    }
  }

  #next({ log, trees }: Parts, { digest: checkpoint }: Offer): Wanted | undefined {
    const chunk = log.next();
    if (chunk !== undefined) {
      const message = { kind: 'log-ask', checkpoint, chunk } as const;
      return { name: nameOfChunk(chunk), sizeBytes: limits.logChunkSizeBytesMax, message };
    }
    for (const table of ['system', 'service'] as const) {
      const part = trees[table].next();
      if (part === undefined) continue;
      const { path, nodeOnly } = part;
      const isNode = nodeOnly || part.sizeBytes > limits.statePartSizeBytesMax;
      const sizeBytes = isNode ? nodeAskSizeBytes : part.sizeBytes;
      const hash = digestFrom(part.hash);
      const message = { kind: 'state-ask', checkpoint, table, path, hash, nodeOnly } as const;
      return { name: nameOfPart(table, path), sizeBytes, message };
    }
    return undefined;
  }

  #isUnfinished(): boolean {
    if (this.#isDone || this.#damage !== undefined || !this.#mayGoOn()) return false;
    if (this.#sweep !== undefined) return !this.#sweep.isDone;
    if (this.#parts === undefined) return false;
    const { log, trees } = this.#parts;
    return log.hasWork || trees.system.hasWork || trees.service.hasWork;
  }

  #wakeAtMs(nowMs: number): number | undefined {
    if (this.#isDone || this.#damage !== undefined || this.#sweep !== undefined) return undefined;
    const offersAtMs = this.#withoutTarget().length === 0 ? undefined : this.#offersAskedAgainAtMs;
    const askAtMs = this.#asks.wakeAtMs(nowMs);
    if (offersAtMs === undefined || askAtMs === undefined) return offersAtMs ?? askAtMs;
    return Math.min(offersAtMs, askAtMs);
  }

  #progress(): TransferProgress {
    const target = this.#target;
    const trees = this.#parts?.trees;
    const { service, system } = target?.checkpoint ?? { service: undefined, system: undefined };
    let phase: TransferProgress['phase'] = 'looking';
    if (this.#isDone) phase = 'done';
    else if (this.#sweep !== undefined) phase = 'sweeping';
    else if (target !== undefined) phase = 'fetching';
    return {
      phase,
      commitIndex: target === undefined ? 0 : indexOf(target),
      entries: (trees?.service.entries ?? 0) + (trees?.system.entries ?? 0),
      entriesTotal: (service?.entries ?? 0) + (system?.entries ?? 0),
      sizeBytes: (trees?.service.sizeBytes ?? 0) + (trees?.system.sizeBytes ?? 0),
      sizeBytesTotal: (service?.sizeBytes ?? 0) + (system?.sizeBytes ?? 0),
      peers: target === undefined ? 0 : this.#offers.holdersOf(target.digest).length,
      droppedPeers: [...this.#dropped],
      bytesReceived: this.#bytesReceived,
      logChunks: this.#parts?.log.count ?? 0,
    };
  }
}

function nameOfPart(table: TreeTable, path: string): string {
  return `${table}/${path}`;
}

function nameOfChunk(chunk: number): string {
  return `log/${chunk}`;
}

function chunkOfName(name: string): number {
  return Number(name.slice('log/'.length));
}

/** As it travels, about. */
function sizeOfPart(part: StatePart): number {
  if (part.kind === 'gone') return 0;
  if (part.kind === 'node') return part.encoded.length;
  return part.entries.reduce((sum, { key, value }) => sum + key.length + value.length + 8, 0);
}
