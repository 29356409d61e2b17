/**
 * Told statements: what the others said is the certified statement of who the replicas are, kept through the lives of this replica.
 *
 * In: frames of peers, as they come. Out: for each life those that came before it. They are said once for each link, so a life
 * that begins after the links, as when state was fetched first, would never hear of them: not if it signs nothing itself.
 * Bounds: one a peer, and no frame is larger than what a link takes.
 */
import { isMembershipFrame } from '../wire/peer-message.ts';

export interface ToldFrame {
  readonly kind: 'peer-frame';
  readonly from: number;
  readonly frame: Uint8Array;
}

export class ToldStatements {
  readonly #frames = new Map<number, Uint8Array>();

  note(from: number, frame: Uint8Array): void {
    if (isMembershipFrame(frame)) this.#frames.set(from, Uint8Array.from(frame));
  }

  get all(): readonly ToldFrame[] {
    return [...this.#frames].map(([from, frame]) => ({ kind: 'peer-frame', from, frame }));
  }
}
