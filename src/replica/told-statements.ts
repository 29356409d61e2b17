/**
 * Told statements: what the others said to certify who the replicas are, kept through the lives of this replica: shares of the
 * signature, and the signature.
 *
 * In: frames of peers, as they come. Out: for each life those that came before it. They are said once for each link, so a life
 * that begins after the links, as when state was fetched first, would never hear of them: not if it signs nothing itself.
 * Bounds: one of each a peer, and no frame is larger than what a link takes.
 */
import { membershipFrameKind } from '../wire/peer-message.ts';

export interface ToldFrame {
  readonly kind: 'peer-frame';
  readonly from: number;
  readonly frame: Uint8Array;
}

export class ToldStatements {
  /** By peer and kind. */
  readonly #frames = new Map<string, ToldFrame>();

  note(from: number, frame: Uint8Array): void {
    const kind = membershipFrameKind(frame);
    if (kind === undefined) return;
    this.#frames.set(`${from} ${kind}`, { kind: 'peer-frame', from, frame: Uint8Array.from(frame) });
  }

  get all(): readonly ToldFrame[] {
    return [...this.#frames.values()];
  }
}
