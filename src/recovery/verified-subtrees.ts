/**
 * Verified subtrees: the large ones that a transfer has made right, so that they need not be read again for the next checkpoint.
 *
 * Owns a bounded number of them: the larger the state, the larger the smallest that is remembered.
 * Safety: whoever changes anything under a path forgets first what is known of it, and of what is above and below.
 */
import type { StatePath } from '../state/state-path.ts';
import type { TreeTable } from '../state/tables.ts';

export interface FinishedSubtree {
  readonly hash: Uint8Array;
  readonly entryCount: number;
  /** Of keys and values. */
  readonly sizeBytes: number;
  readonly nodeCount: number;
}

/** What is remembered at a path and under it. */
interface Place {
  finished: FinishedSubtree | undefined;
  readonly below: Map<string, Place>;
}

const smallestSizeBytes = 64 * 1024;
/** At one depth, about; there are a few depths. */
const rememberedMax = 16_384;

export class VerifiedSubtrees {
  readonly #places = { service: emptyPlace(), system: emptyPlace() };
  #sizeBytesMin = smallestSizeBytes;

  /** The state is about so large. */
  expect(sizeBytes: number): void {
    this.#sizeBytesMin = Math.max(smallestSizeBytes, sizeBytes / rememberedMax);
  }

  get(table: TreeTable, path: StatePath, hash: Uint8Array): FinishedSubtree | undefined {
    let place: Place | undefined = this.#places[table];
    for (const digit of path) place = place?.below.get(digit);
    const finished = place?.finished;
    return finished !== undefined && Buffer.compare(finished.hash, hash) === 0 ? finished : undefined;
  }

  add(table: TreeTable, path: StatePath, finished: FinishedSubtree): void {
    if (finished.sizeBytes < this.#sizeBytesMin) return;
    let place: Place = this.#places[table];
    for (const digit of path) {
      const below = place.below.get(digit) ?? emptyPlace();
      place.below.set(digit, below);
      place = below;
    }
    place.finished = finished;
  }

  /** What is under the path may change; `below`: all of it, else whoever asks says so again for each part that does. */
  forget(table: TreeTable, path: StatePath, { below }: { readonly below: boolean }): void {
    let place: Place | undefined = this.#places[table];
    place.finished = undefined;
    for (const digit of path) {
      place = place.below.get(digit);
      if (place === undefined) return;
      place.finished = undefined;
    }
    if (below) place.below.clear();
  }

  forgetAll(): void {
    this.forget('service', '', { below: true });
    this.forget('system', '', { below: true });
  }
}

function emptyPlace(): Place {
  return { finished: undefined, below: new Map() };
}
