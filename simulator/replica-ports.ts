/**
 * Replica ports: what the rest of the simulation is told by a simulated replica, and how that reaches the others.
 */
import type { Reply } from '../src/execution/execution.ts';
import type { TransferEvidence } from '../src/recovery/effects.ts';
import type { CertifiedAnswer } from '../src/replica/certified-replies.ts';
import type { ReplicaEffects } from '../src/replica/effects.ts';
import type { MachineStatus } from '../src/replica/machine-options.ts';
import type { Machine } from './simulated-machine.ts';

export interface ReplicaPorts {
  readonly send: (from: number, to: number, frame: Uint8Array) => void;
  readonly reply: (replica: number, reply: Reply) => void;
  readonly refused: (replica: number, refusal: ReplicaEffects['refusals'][number]) => void;
  readonly certified: (replica: number, answer: CertifiedAnswer) => void;
  /** A step's effects, now that what they rest on is durable; `status` is that of the machine after the step. */
  readonly stepped: (replica: number, effects: ReplicaEffects, machine: Machine) => void;
  /** It refuses what another one gave it of a state. */
  readonly rejected: (replica: number, evidence: TransferEvidence) => void;
  /** It begins to fetch a state from the others. */
  readonly fetching: (replica: number) => void;
  /** It has fetched a state from the others. */
  readonly fetched: (replica: number) => void;
  /** The machine is back from its log. */
  readonly restored: (replica: number, status: MachineStatus) => void;
}
