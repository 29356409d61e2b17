/**
 * What goes into a replica machine and what comes out: the ordering and the execution joined, still without any input or
 * output of their own. `replica/carry-out.ts` carries effects out in the order of the fields; the simulator uses it too.
 */
import type { Digest } from '../crypto/hash.ts';
import type { Diagnostic, Reply } from '../execution/execution.ts';
import type { KeySecrets } from '../keys/key-generation.ts';
import type { Membership } from '../membership/membership.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Evidence } from '../ordering/effects.ts';
import type { RefusalCode } from '../wire/client-message.ts';
import type { MembershipBody } from '../wire/membership-statement.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import type { SessionKeys } from '../wire/successor.ts';
import type { CertifiedAnswer } from './certified-replies.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import type { CheckpointToWrite } from './checkpoint-writer.ts';

export type ReplicaInput =
  /** A frame from the replica at the other end of an authenticated link. */
  | { readonly kind: 'peer-frame'; readonly from: number; readonly frame: Uint8Array }
  /** Our link to this replica is up: what we sent before may be lost. */
  | { readonly kind: 'connected'; readonly peer: number }
  /** An encoded request from a client; `link` is any number that says where a refusal goes. */
  | {
      readonly kind: 'client-request';
      readonly link: number;
      readonly request: Uint8Array;
      /** Wants a certified reply; the client holds a head of so many leaves. */
      readonly certifyFrom?: number | undefined;
    }
  /** A client asks for the newest certified head; it holds one of so many leaves. */
  | { readonly kind: 'client-asks-head'; readonly link: number; readonly logSize: number }
  /** A client asks what is under a key of the state, as of the commit `notBefore` or later. */
  | {
      readonly kind: 'client-asks-state';
      readonly link: number;
      readonly number: number;
      readonly key: string;
      readonly notBefore: number;
      /** It holds a head of so many leaves. */
      readonly logSize: number;
    }
  /** A link to a client has ended: nothing more is to be sent there. */
  | { readonly kind: 'client-gone'; readonly link: number }
  /** A checkpoint of ours is durable in the engine. */
  | { readonly kind: 'checkpoint-stored'; readonly digest: Digest }
  /** Session keys of ours for the next epoch are durable; they count when the next membership names them. */
  | { readonly kind: 'next-session-keys'; readonly secrets: KeySecrets };

/** The cluster waits for our next session keys. */
export interface SuccessorWish {
  /** In which they will be used. */
  readonly epoch: number;
  /** We are to be made clean first. */
  readonly isMyTurn: boolean;
  /** Those that are agreed to be ours so far; undefined when none are. */
  readonly named: SessionKeys | undefined;
}

/** The epoch is over, and what comes of it is certified and durable. */
export interface ClosedEpoch {
  /** The next epoch begins from this. */
  readonly closing: StableCheckpoint;
  readonly body: MembershipBody;
  /** Of the next epoch; we may not be in it. */
  readonly membership: Membership;
  /** Our share of the next sharing; undefined when it cannot be had yet, or we are no holder. */
  readonly keyShare: bigint | undefined;
  /** Encoded (`epochs/closing-proof.ts`): brings others over that were left behind. To be kept until the next one. */
  readonly proof: Uint8Array;
}

export interface ReplicaEffects {
  /** Encoded blocks to append to the log, durable before anything below. */
  readonly persist: readonly Uint8Array[];
  /** A key share that is to be sealed and stored. It can be had again from the log, so nothing waits for it. */
  readonly seal: bigint | undefined;
  /** Checkpoints taken, to be written to the engine in the background. */
  readonly checkpoints: readonly CheckpointToWrite[];
  /** The newest checkpoint that is stored and certified, when it has just become so. */
  readonly stable: StableCheckpoint | undefined;
  readonly send: readonly { readonly to: number | 'all'; readonly message: PeerMessage }[];
  /** Peers that asked for blocks above a round: to be read from the log and sent. */
  readonly serve: readonly { readonly to: number; readonly afterRound: number }[];
  /** To every link attached to the reply's session, if any. */
  readonly replies: readonly Reply[];
  /** Proofs, each to the link that wants it. */
  readonly certified: readonly CertifiedAnswer[];
  readonly refusals: readonly {
    readonly link: number;
    /** Undefined when the request is too malformed to have one. */
    readonly requestDigest: Digest | undefined;
    readonly code: RefusalCode;
    readonly reason: string;
  }[];
  readonly evidence: readonly Evidence[];
  /** What a service's code did wrong, for the local log only. */
  readonly diagnostics: readonly Diagnostic[];
  /** What was committed and, by now, executed; for observers such as metrics and the simulator's checkers. */
  readonly commits: readonly Commit[];
  /** There is more to do at once: step again as soon as these are carried out. */
  readonly isUnfinished: boolean;
  /** Make session keys for the next epoch, and submit them: said when it becomes so, and after a restart. */
  readonly wantsSuccessor: SuccessorWish | undefined;
  /** Said once: go on in the next epoch. Nothing is decided here any more. */
  readonly closed: ClosedEpoch | undefined;
  /** Step again at this time at the latest, with or without input; undefined when nothing is waited for. */
  readonly wakeAtMs: number | undefined;
}
