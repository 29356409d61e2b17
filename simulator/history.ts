/**
 * History: what clients did and what they were told, in one order of calls and returns.
 */
import type { Digest } from '../src/crypto/hash.ts';
import type { KvAction } from './kv-model.ts';

/** One operation of one request. */
export interface HistoryEntry {
  readonly id: number;
  /** Name of the session and number of the request, for reports. */
  readonly request: string;
  readonly requestDigest: Digest;
  readonly action: KvAction;
  /** Position in the order of all calls and returns. */
  readonly calledAt: number;
  returned: HistoryReturn | undefined;
}

export interface HistoryReturn {
  readonly at: number;
  /** As `applyKvAction` says it. */
  readonly outcome: string;
  /** The number of the event with which the client accepted it. */
  readonly event: number;
}

/** A request whose result a client accepted. */
export interface Acknowledged {
  readonly request: string;
  readonly requestDigest: Digest;
  readonly result: Uint8Array;
  readonly event: number;
}

export class History {
  readonly entries: HistoryEntry[] = [];
  readonly acknowledged: Acknowledged[] = [];
  #position = 0;

  /** The calls of one request; a client gives the entries back when it has the outcomes. */
  called(request: string, requestDigest: Digest, actions: readonly KvAction[]): readonly HistoryEntry[] {
    this.#position += 1;
    const calledAt = this.#position;
    return actions.map((action) => {
      const id = this.entries.length;
      const entry: HistoryEntry = { id, request, requestDigest, action, calledAt, returned: undefined };
      this.entries.push(entry);
      return entry;
    });
  }

  returned(entries: readonly HistoryEntry[], outcomes: readonly string[], result: Uint8Array, event: number): void {
    this.#position += 1;
    const at = this.#position;
    entries.forEach((entry, index) => {
      entry.returned = { at, outcome: outcomes[index] ?? 'no outcome', event };
    });
    const first = entries[0];
    if (first === undefined) return;
    this.acknowledged.push({ request: first.request, requestDigest: first.requestDigest, result, event });
  }
}
