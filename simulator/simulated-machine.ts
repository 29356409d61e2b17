/**
 * Simulated machine: what the simulation asks of a replica's machine, and what it makes one of.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { Digest } from '../src/crypto/hash.ts';
import type { AnyService } from '../src/execution/service-definition.ts';
import type { KeySecrets } from '../src/keys/key-generation.ts';
import type { Transcript } from '../src/keys/transcript.ts';
import type { Membership } from '../src/membership/membership.ts';
import type { SignatureCheck } from '../src/ordering/validity.ts';
import type { ReplicaEffects, ReplicaInput } from '../src/replica/effects.ts';
import type { StoredCheckpoint } from '../src/replica/engine-notes.ts';
import { ReplicaMachine } from '../src/replica/machine.ts';
import type { EpochStatus, MachineStatus } from '../src/replica/machine-options.ts';
import type { StateEngine } from '../src/state/engine.ts';
import type { CertifiedHead } from '../src/wire/client-message.ts';
import type { Genesis } from '../src/wire/genesis.ts';

/** What of the machine the loop needs: tests put a broken one in its place to see whether a checker notices. */
export interface Machine {
  readonly status: MachineStatus;
  readonly certifiedHead: CertifiedHead | undefined;
  /** 192 hex characters; undefined while it is being generated. */
  readonly serviceKey: string | undefined;
  readonly transcript: Transcript | undefined;
  readonly commitIndex: number;
  readonly checkpointIndex: number;
  readonly divergence: ReplicaMachine['divergence'];
  readonly certifiedMembership: ReplicaMachine['certifiedMembership'];
  readonly epochStatus: EpochStatus;
  /** Encoded, and in no commit yet. */
  readonly pendingRequests: readonly Uint8Array[];
  restore(blocks: readonly Uint8Array[]): ReturnType<ReplicaMachine['restore']>;
  checkpointStored(digest: Digest): void;
  step(inputs: readonly ReplicaInput[], nowMs: number, clockMs: number): ReplicaEffects;
}

export interface MachineOptions {
  readonly membership: Membership;
  readonly self: number;
  readonly sign: (digest: Digest) => Uint8Array;
  readonly check: SignatureCheck;
  /** Its disk was lost, and it knows. */
  readonly observer: boolean;
  readonly curve: PairingCurve;
  readonly keySecrets: KeySecrets | undefined;
  /** What its disk has sealed. */
  readonly sealedShare: bigint | undefined;
  readonly service: AnyService;
  readonly names: { readonly name: string; readonly service: string };
  readonly engine: StateEngine;
  readonly genesis: Genesis;
  /** Of the epoch whose sharing goes on, where that is not this one. */
  readonly keyMembership?: Membership;
  /** Made for the next epoch before this start, the newest last. */
  readonly nextSecrets: readonly KeySecrets[];
  /** What its engine holds. */
  readonly from: StoredCheckpoint | undefined;
}

export function productionMachine(options: MachineOptions): Machine {
  return new ReplicaMachine(options);
}
