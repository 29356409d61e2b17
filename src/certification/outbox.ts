/**
 * Outbox: the effects of the step in hand, as its parts come up with them.
 */
import type { Digest } from '../crypto/hash.ts';
import type { PeerMessage } from '../wire/peer-message.ts';
import type { CertificationEffects, CertificationEvidence } from './effects.ts';

export class Outbox {
  #send: { readonly to: number | 'all'; readonly message: PeerMessage }[] = [];
  #evidence: CertificationEvidence[] = [];
  #wakeAtMs: number | undefined;

  send(to: number | 'all', message: PeerMessage): void {
    this.#send.push({ to, message });
  }

  /** `author` is who is at fault beyond doubt. */
  reject(rule: string, from: number, author: number | undefined, digest: Digest | undefined): void {
    this.#evidence.push({ kind: 'rejection', rule, from, author, digest });
  }

  wakeAt(atMs: number): void {
    if (this.#wakeAtMs === undefined || atMs < this.#wakeAtMs) this.#wakeAtMs = atMs;
  }

  take(): CertificationEffects {
    const effects = { send: this.#send, evidence: this.#evidence, wakeAtMs: this.#wakeAtMs };
    this.#send = [];
    this.#evidence = [];
    this.#wakeAtMs = undefined;
    return effects;
  }
}
