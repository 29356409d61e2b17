/**
 * Carry out: the one place where effects become real, in their one order: durable, then sent, then answered.
 *
 * In: the effects of one step and the ports to the world. The next step's effects are carried out only after these.
 * Safety: a block is on disk before anyone hears of it, and so is everything a reply depends on (ordering.md §3).
 */
import type { BlockLog } from '../storage/block-log.ts';
import { roundOfEncodedBlock } from '../wire/block.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import type { ReplicaEffects } from './effects.ts';
import type { RoundIndex } from './round-index.ts';

/** Where effects go. Apart from the log none waits or throws: what cannot be delivered is dropped and asked for again. */
export interface Ports {
  readonly log: BlockLog;
  readonly roundIndex: RoundIndex;
  send(to: number, frame: Uint8Array): void;
  broadcast(frame: Uint8Array): void;
  refuse(refusal: ReplicaEffects['refusals'][number]): void;
  reply(reply: ReplicaEffects['replies'][number]): void;
  certified(answer: ReplicaEffects['certified'][number]): void;
  /** Starts sealing and storing our key share. */
  seal(keyShare: bigint): void;
  /** Starts writing a checkpoint; waits until the one before is written. Never rejects. */
  checkpoint(taken: ReplicaEffects['checkpoints'][number]): Promise<void>;
  /** A checkpoint is stable: it may be served, and what is older may go. */
  stable(checkpoint: NonNullable<ReplicaEffects['stable']>): void;
  /** Starts sending blocks above a round out of the log. */
  serve(to: number, afterRound: number): void;
}

/** Rejects with a `StorageError` when something may not be durable; nothing of these effects has left then. */
export async function carryOut(effects: ReplicaEffects, ports: Ports): Promise<void> {
  if (effects.persist.length > 0) {
    const positions = await ports.log.append(effects.persist);
    for (const [index, bytes] of effects.persist.entries()) {
      ports.roundIndex.note(roundOfEncodedBlock(bytes), positions[index] as number);
    }
  }
  if (effects.seal !== undefined) ports.seal(effects.seal);
  for (const { to, message } of effects.send) {
    const frame = encodePeerMessage(message);
    if (to === 'all') ports.broadcast(frame);
    else ports.send(to, frame);
  }
  for (const refusal of effects.refusals) ports.refuse(refusal);
  for (const reply of effects.replies) ports.reply(reply);
  for (const answer of effects.certified) ports.certified(answer);
  for (const { to, afterRound } of effects.serve) ports.serve(to, afterRound);
  if (effects.stable !== undefined) ports.stable(effects.stable);
  // Last, for a slow disk makes the next step wait here, and must not keep back what this one has to say.
  for (const taken of effects.checkpoints) await ports.checkpoint(taken);
}
