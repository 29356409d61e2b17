/**
 * Forged state: what an adversary leaves on a disk that is to be made clean: a state in which all fits together, tree, checkpoint and
 * log, and which differs from the real one in what it likes. Only that the service has signed it is missing, and it can but pretend.
 */
import { checkpointNotes, headNote, readStored } from '../src/replica/engine-notes.ts';
import { type Change, StateDamage, type StateView } from '../src/state/engine.ts';
import { stateKeyText } from '../src/state/state-key.ts';
import { StoredTree } from '../src/state/stored-tree.ts';
import { engineKey, engineRange } from '../src/state/tables.ts';
import { checkpointDigest, encodeCheckpoint } from '../src/wire/checkpoint.ts';
import { encodeValue } from '../src/wire/value.ts';
import type { Prng } from './prng.ts';

/** What the adversary would have everybody read. */
const wish = encodeValue('what the adversary likes');
/** Commits that it pretends to be ahead, so that nobody has anything newer. */
const aheadMax = 1_000;

/** What has to be written over this state to make another one of it; undefined where there is none to go on from. */
export function forgedState(view: StateView, prng: Prng): readonly Change[] | undefined {
  try {
    const stored = readStored(view);
    if (stored === undefined) return undefined;
    const { checkpoint, logPosition, ownBlock, head } = stored;
    const tree = new StoredTree({ engine: view, table: 'service', root: checkpoint.service.root });
    const keys = serviceKeysOf(view);
    const key = keys.length === 0 ? 'k0' : prng.pick(keys);
    const service = tree.update(new Map([[key, wish]]));
    const commitIndex = checkpoint.ordering.commitIndex + prng.pick([0, prng.between(1, aheadMax)]);
    const encoded = encodeCheckpoint({ ...checkpoint, service, ordering: { ...checkpoint.ordering, commitIndex } });
    const digest = checkpointDigest(encoded);
    // A signature that the service did give, for another head; or none.
    const isShown = head !== undefined && prng.chance(0.7);
    const shown = isShown ? [headNote({ ...head, head: { ...head.head, commitIndex, checkpoint: digest } })] : [];
    const value = { key: engineKey('service', new TextEncoder().encode(key)), value: wish };
    return [...tree.freeze(), value, ...checkpointNotes({ encoded, logPosition, ownBlock }), ...shown];
  } catch (error) {
    if (error instanceof StateDamage) return undefined;
    throw error;
  }
}

function serviceKeysOf(view: StateView): readonly string[] {
  return [...view.keys(engineRange('service'))].flatMap((key) => stateKeyText(key.subarray(1)) ?? []);
}
