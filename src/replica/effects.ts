/**
 * What goes into a replica and what comes out: the ordering and the execution joined, still without any input or output
 * of their own. `replica/carry-out.ts` carries effects out in the order of the fields; the simulator uses it too.
 */
import type { Reply } from '../execution/execution.ts';
import type { Evidence } from '../ordering/effects.ts';
import type { RefusalCode } from '../wire/client-message.ts';
import type { PeerMessage } from '../wire/peer-message.ts';

export type ReplicaInput =
  /** A frame from the replica at the other end of an authenticated link. */
  | { readonly kind: 'peer-frame'; readonly from: number; readonly frame: Uint8Array }
  /** Our link to this replica is up. */
  | { readonly kind: 'connected'; readonly peer: number }
  /** An encoded request from a client; `link` is any number that says where a refusal goes. */
  | { readonly kind: 'client-request'; readonly link: number; readonly request: Uint8Array };

export interface ReplicaEffects {
  /** Encoded blocks to append to the log, durable before anything below. */
  readonly persist: readonly Uint8Array[];
  readonly send: readonly { readonly to: number | 'all'; readonly message: PeerMessage }[];
  /** Peers that asked for blocks above a round: to be read from the log and sent. */
  readonly serve: readonly { readonly to: number; readonly afterRound: number }[];
  /** To every link attached to the reply's session, if any. */
  readonly replies: readonly Reply[];
  readonly refusals: readonly {
    readonly link: number;
    readonly requestDigest: string;
    readonly code: RefusalCode;
    readonly reason: string;
  }[];
  readonly evidence: readonly Evidence[];
  readonly wakeAtMs: number | undefined;
}
