/**
 * Take successor: which session keys of a replica count for the next epoch (docs/protocol/epochs.md §§1, 5).
 *
 * In: the state, a certified successor from anybody. Out: the state after it. The same on all replicas.
 * Safety: a successor counts when the replica's identity key has signed it, or, where it recovers by awareness, its present
 * session key; then two different ones of one epoch are a theft or a fault, and neither counts any more. Nobody names a
 * signing key it has not got, nor a key that is another's.
 */
import { parsePublicKey, verify } from '../crypto/ed25519.ts';
import type { EpochState } from '../wire/epoch-state.ts';
import type { StatedReplica } from '../wire/membership-statement.ts';
import {
  type CertifiedSuccessor,
  decodeSuccessor,
  encodeSuccessor,
  possessionPreimage,
  type SessionKeys,
  successorPreimage,
} from '../wire/successor.ts';
import type { Value } from '../wire/value.ts';
import { bytesIn, granted, refused, type SystemOutcome } from './system-outcome.ts';

/** `isEncryptionKey`: is this text a point that can be encrypted to? */
export function takeSuccessor(
  state: EpochState,
  input: Value,
  isEncryptionKey: (text: string) => boolean,
): SystemOutcome {
  const bytes = bytesIn(input, 'successor');
  if (bytes === undefined) return refused(state, 'invalid-input', 'successor: must be bytes');
  const decoded = decodeSuccessor(bytes);
  if (!decoded.ok) return refused(state, 'invalid-input', `successor: ${decoded.reason}`);
  const successor = decoded.value;
  const { serviceId, replicaId, epoch, serial, keys } = successor.statement;
  const { membership, phase } = state;
  const replica = membership.replicas.find((each) => each.replicaId === replicaId);
  if (serviceId !== membership.serviceId) return refused(state, 'bad-signature', 'it is for another service');
  if (replica === undefined) return refused(state, 'unknown-replica', 'no replica of this epoch has that id');
  if (epoch !== membership.epoch + 1) {
    return refused(state, 'wrong-epoch', `the next epoch is ${membership.epoch + 1}, not ${epoch}`);
  }
  if (phase.kind === 'steady') return refused(state, 'too-early', 'the epoch is not ending yet');
  if (phase.kind === 'resharing') return refused(state, 'too-late', 'the next membership is fixed already');
  // Anybody may hand in again what the log shows to all: that costs no signatures a second time.
  const taken = state.successors.find(({ statement }) => statement.replicaId === replicaId);
  if (taken !== undefined && Buffer.compare(encodeSuccessor(taken), bytes) === 0) {
    return granted(state, { status: 'taken', epoch, serial });
  }
  const fault = faultOfSignatures(replica, successor);
  if (fault !== undefined) return refused(state, 'bad-signature', fault);
  if (state.disputed.includes(replicaId)) {
    return refused(
      state,
      'disputed',
      'there were two successors of one key; an administrator must replace the replica',
    );
  }
  const clash = faultOfKeys(state, replica, keys, isEncryptionKey);
  if (clash !== undefined) return refused(state, 'not-possible', clash);
  return replace(state, replica, successor);
}

/** The better of the one there is and the new one; or neither. */
function replace(state: EpochState, replica: StatedReplica, successor: CertifiedSuccessor): SystemOutcome {
  const { replicaId, serial, isClean, epoch } = successor.statement;
  const others = state.successors.filter(({ statement }) => statement.replicaId !== replicaId);
  const before = state.successors.find(({ statement }) => statement.replicaId === replicaId)?.statement;
  const value = { status: 'taken', epoch, serial };
  if (before !== undefined) {
    const isSame = areSame(before.keys, successor.statement.keys);
    if (isSame && before.serial === serial && before.isClean === isClean) return granted(state, value);
    if (replica.recovery === 'awareness' && !isSame) {
      const disputed = [...state.disputed, replicaId].sort();
      const message = 'a second successor of one key: neither counts until an administrator has replaced the replica';
      return refused({ ...state, successors: others, disputed }, 'disputed', message);
    }
    if (serial <= before.serial) return refused(state, 'stale', `the serial must be above ${before.serial}`);
  }
  const successors = [...others, successor].sort((a, b) => (a.statement.replicaId < b.statement.replicaId ? -1 : 1));
  return granted({ ...state, successors }, value);
}

function faultOfSignatures(replica: StatedReplica, successor: CertifiedSuccessor): string | undefined {
  const { statement, certificate, possession } = successor;
  const isByIdentity = replica.recovery !== 'awareness';
  const certifier = parsePublicKey(isByIdentity ? (replica.identityKey ?? '') : replica.signingKey);
  if (certifier === undefined || !verify(certifier, successorPreimage(statement), certificate)) {
    return `the ${isByIdentity ? 'identity key' : 'present signing key'} of the replica has not signed it`;
  }
  const owner = parsePublicKey(statement.keys.signingKey);
  if (owner === undefined || !verify(owner, possessionPreimage(statement), possession)) {
    return 'the new signing key has not signed it';
  }
  return undefined;
}

/** Keys that a replica keeps are its own; all others must be new to everybody. */
function faultOfKeys(
  { membership, successors }: EpochState,
  { replicaId }: StatedReplica,
  keys: SessionKeys,
  isEncryptionKey: (text: string) => boolean,
): string | undefined {
  if (!isEncryptionKey(keys.encryptionKey)) return 'its encryption key is not a point of G1';
  const taken = [
    ...membership.replicas.filter((replica) => replica.replicaId !== replicaId),
    ...successors.filter(({ statement }) => statement.replicaId !== replicaId).map(({ statement }) => statement.keys),
  ];
  for (const field of ['signingKey', 'linkKeyDigest', 'encryptionKey'] as const) {
    if (taken.some((other) => other[field] === keys[field])) return `its ${field} is that of another replica`;
  }
  if (membership.replicas.some(({ identityKey }) => identityKey === keys.signingKey)) {
    return 'its signingKey is an identity key';
  }
  return undefined;
}

function areSame(a: SessionKeys, b: SessionKeys): boolean {
  return a.signingKey === b.signingKey && a.linkKeyDigest === b.linkKeyDigest && a.encryptionKey === b.encryptionKey;
}
