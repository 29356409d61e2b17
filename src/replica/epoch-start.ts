/**
 * Epoch start: where the epoch and the service key of a membership stand when a machine begins: before all commits, within the
 * epoch, or at its beginning after the checkpoint that closed the one before.
 *
 * In: the membership, an engine that holds a checkpoint. Out: the agreed state, what is known of the sharings, and the entries in
 * which a checkpoint keeps the former.
 * Throws `StateDamage` when the checkpoint is not one that this epoch can go on from.
 */
import { beginEpoch } from '../epochs/epoch-rules.ts';
import { bodyOf, epochGenesisAfter } from '../membership/epochs.ts';
import type { Membership } from '../membership/membership.ts';
import { StateDamage, type StateView } from '../state/engine.ts';
import { stateKeyBytes } from '../state/state-key.ts';
import { engineKey } from '../state/tables.ts';
import { decodeEpochState, type EpochState, encodeEpochState } from '../wire/epoch-state.ts';
import type { KnownCheckpoint } from './engine-notes.ts';
import { type KeyHistory, noKeyHistory, readKeyHistory } from './key-history.ts';

const keys = { state: 'epoch', formerKeys: 'epoch-former-keys' } as const;
const keyLength = 64;

export interface EpochStart {
  readonly state: EpochState;
  /** The checkpoint is the one that closes this very epoch: nothing comes after it. */
  readonly isClosed: boolean;
  readonly history: KeyHistory;
  /** Signing keys of the epoch before: requests that its replicas passed on may still be on their way. */
  readonly formerKeys: readonly string[];
}

export interface EpochStartOptions {
  readonly membership: Membership;
  readonly names: { readonly name: string; readonly service: string };
  /** What the engine holds; undefined: nothing was committed yet. */
  readonly from: KnownCheckpoint | undefined;
  readonly engine: StateView;
}

export function epochStart({ membership, names, from, engine }: EpochStartOptions): EpochStart {
  const { sharingEpoch, genesisTimestamp } = membership;
  const begins = { body: bodyOf(membership, names), sharingEpoch };
  if (from === undefined) {
    const state = beginEpoch(begins, { commitIndex: 0, timestamp: genesisTimestamp });
    return { state, isClosed: false, history: noKeyHistory, formerKeys: [] };
  }
  const state = readState(engine);
  const history = readKeyHistory(engine);
  const formerKeys = readFormerKeys(engine);
  const { epoch, ordering, nextMembership } = from.checkpoint;
  if (epoch === membership.epoch) return { state, isClosed: nextMembership !== undefined, history, formerKeys };
  const { commitIndex, timestamp } = ordering;
  const begun = beginEpoch(begins, { commitIndex, timestamp }, state);
  // Restored from a snapshot: the sharing of then goes on.
  if (sharingEpoch !== membership.epoch) {
    return { state: begun, isClosed: false, history: { ...history, next: undefined }, formerKeys };
  }
  const isOurs = epochGenesisAfter(membership.serviceId, from.digest, membership.epoch) === membership.epochGenesis;
  if (!isOurs || history.next === undefined) {
    throw new StateDamage(`The state is not the one that epoch ${membership.epoch} begins from.`);
  }
  return {
    state: begun,
    isClosed: false,
    history: { present: history.next, next: undefined },
    formerKeys: state.membership.replicas.map(({ signingKey }) => signingKey),
  };
}

/** Keys of the system table and their values. */
export function epochEntries({
  state,
  formerKeys,
}: Pick<EpochStart, 'state' | 'formerKeys'>): readonly (readonly [string, Uint8Array])[] {
  return [
    [keys.state, encodeEpochState(state)],
    [keys.formerKeys, Buffer.from(formerKeys.join(''), 'hex')],
  ];
}

function readState(view: StateView): EpochState {
  const encoded = view.get(engineKey('system', stateKeyBytes(keys.state)));
  const decoded = encoded === undefined ? undefined : decodeEpochState(Uint8Array.from(encoded));
  if (decoded?.ok === true) return decoded.value;
  throw new StateDamage(`The state does not say where the epoch stands: ${decoded?.reason ?? 'nothing is there'}.`);
}

function readFormerKeys(view: StateView): readonly string[] {
  const encoded = view.get(engineKey('system', stateKeyBytes(keys.formerKeys)));
  const text = encoded === undefined ? '' : Buffer.from(encoded).toString('hex');
  return text.match(new RegExp(`.{${keyLength}}`, 'g')) ?? [];
}
