/**
 * Replica ports: what the rest of the simulation is told by a simulated replica, and how that reaches the others.
 *
 * All here go by places: where a replica stands in the simulation, whatever its index in the membership of an epoch.
 */
import type { Reply } from '../src/execution/execution.ts';
import type { Commit } from '../src/ordering/commit.ts';
import type { TransferEvidence } from '../src/recovery/effects.ts';
import type { CertifiedAnswer } from '../src/replica/certified-replies.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import type { LinkEnd } from './network.ts';
import type { Machine } from './simulated-machine.ts';

/** What others see a replica say and do, apart from what it sends them. */
export interface ReplicaWatch {
  readonly reply: (place: number, reply: Reply, end: LinkEnd) => void;
  readonly refused: (place: number, refusal: ReplicaEffects['refusals'][number]) => void;
  readonly certified: (place: number, answer: CertifiedAnswer) => void;
  /** A step came to these commits; it may die before anything of that step is durable. */
  readonly decided: (place: number, commits: readonly Commit[]) => void;
  /** A step's effects, now that what they rest on is durable; `status` is that of the machine after the step. */
  readonly stepped: (place: number, effects: ReplicaEffects, machine: Machine) => void;
  /** It refuses what another one gave it of a state. */
  readonly rejected: (place: number, evidence: TransferEvidence) => void;
  /** It does not begin from the state on its disk. */
  readonly refusedState: (place: number) => void;
  /** It begins to fetch a state from the others. */
  readonly fetching: (place: number) => void;
  /** It has fetched a state from the others. */
  readonly fetched: (place: number) => void;
  /** The machine is back from its log. */
  readonly restored: (place: number, machine: Machine) => void;
  /** It has left an epoch for this one, and has nothing of the old one any more. */
  readonly entered: (place: number, epoch: number) => void;
}

export interface ReplicaPorts extends ReplicaWatch {
  readonly send: (from: number, to: number, frame: Uint8Array, end: LinkEnd) => void;
  /** Asks another replica over HTTP who the replicas are by now. */
  readonly askMembership: (place: number) => void;
  /** Gives a request of its own to another replica over HTTP. */
  readonly request: (to: number, request: Uint8Array) => void;
}
