/** Where the epoch stands is a function of operations and commits alone; each phase ends by what is written, and by nothing else. */
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { keyOf } from '../../simulator/keys.ts';
import { plainCurve } from '../../simulator/plain-curve.ts';
import { freshSecrets, publicKeysOf } from '../../simulator/session-secrets.ts';
import { identityKeyAt, simulatedMembership, simulatedReplica } from '../../simulator/simulated-membership.ts';
import { type SigningKey, sign } from '../crypto/ed25519.ts';
import { bodyOf } from '../membership/epochs.ts';
import { defaultParameters } from '../membership/genesis.ts';
import { type AdminAction, adminPreimage, encodeAdminProposal } from '../wire/admin-action.ts';
import { decodeEpochState, type EpochState, encodeEpochState } from '../wire/epoch-state.ts';
import { encodeSuccessor, possessionPreimage, type SuccessorStatement, successorPreimage } from '../wire/successor.ts';
import { encodeValue } from '../wire/value.ts';
import { EpochControl } from './epoch-control.ts';
import { beginEpoch, type EpochRules } from './epoch-rules.ts';
import { takeApproval } from './take-approval.ts';
import { takeSuccessor } from './take-successor.ts';

const membership = simulatedMembership({ n: 4, f: 1, k: 0 }, defaultParameters, 1);
const { serviceId } = membership;
const administrator = keyOf('administrator');
const rules: EpochRules = {
  epochIntervalMs: 1_000,
  successorWaitMs: 100,
  administrators: { approvals: 1, keys: [administrator.publicKey.text] },
};
const body = bodyOf(membership, { name: 'n', service: 's' });
const began = { commitIndex: 10, timestamp: 5_000 };
const ready = { isHeld: true, isNextHeld: false };

let control: EpochControl;
let commitIndex: number;

function controlOf(state: EpochState, of: Partial<EpochRules> = {}): EpochControl {
  return new EpochControl({ state, rules: { ...rules, ...of }, isEncryptionKey: (text) => !text.startsWith('ff') });
}

function commit(timestamp: number, standing = ready) {
  commitIndex += 1;
  return control.committed({ commitIndex, timestamp }, standing);
}

function propose(action: AdminAction, { epoch = 0, by = administrator } = {}) {
  const proposal = { serviceId, epoch, action };
  const signature = sign(by, adminPreimage(proposal));
  return control.apply(
    'coterie.admin',
    encodeValue({ proposal: encodeAdminProposal(proposal), administrator: 0, signature }),
  );
}

function nameKeys(
  place: number,
  change: Partial<SuccessorStatement> & {
    readonly by?: SigningKey;
    readonly owner?: SigningKey;
    readonly attempt?: string;
  } = {},
) {
  const { by = keyOf(`replica ${place}`), attempt = 'a', owner, ...rest } = change;
  const secrets = freshSecrets(place, attempt);
  const statement = {
    serviceId,
    replicaId: `r${place}`,
    epoch: 1,
    serial: 1,
    isClean: true,
    keys: publicKeysOf(plainCurve, secrets),
    ...rest,
  };
  const successor = {
    statement,
    certificate: sign(by, successorPreimage(statement)),
    possession: sign(owner ?? secrets.signing, possessionPreimage(statement)),
  };
  return control.apply('coterie.successor', encodeValue({ successor: encodeSuccessor(successor) }));
}

/** The same replicas, each known by its identity key. */
function bodyWithKeepers(): typeof body {
  const replicas = body.replicas.map((replica, i) => ({
    ...replica,
    recovery: 'hardware' as const,
    identityKey: identityKeyAt(i).publicKey.text,
  }));
  return { ...body, replicas };
}

beforeEach(() => {
  commitIndex = 10;
  control = controlOf(beginEpoch({ body, sharingEpoch: 0 }, began));
});

describe('an epoch', () => {
  it('ends at the first commit whose time is as late as its beginning and the interval', () => {
    commit(5_999);
    expect(control.state.phase.kind).toBe('steady');
    commit(6_000);
    expect(control.state.phase).toEqual({
      kind: 'preparing',
      since: { commitIndex: 12, timestamp: 6_000 },
      turn: ['r0'],
    });
  });

  it('never ends by itself when there is no interval, however late it is', () => {
    control = controlOf(control.state, { epochIntervalMs: 0 });
    commit(Number.MAX_SAFE_INTEGER);
    expect(control.state.phase.kind).toBe('steady');
    expect(control.dueAtClockMs).toBeUndefined();
    expect(propose({ kind: 'advance' })).toMatchObject({ ok: true, value: { status: 'approved' } });
    expect(propose({ kind: 'advance' })).toMatchObject({ code: 'too-late' });
    commit(5_001);
    expect(control.state.phase.kind).toBe('preparing');
    expect(propose({ kind: 'advance' })).toMatchObject({ code: 'too-late' });
  });

  it('waits for the keys of all, and of those with a keeper whose turn it is for clean ones, or until the wait is over', () => {
    control = controlOf(beginEpoch({ body: bodyWithKeepers(), sharingEpoch: 0 }, began));
    commit(6_000);
    for (const place of [1, 2, 3, 0]) {
      expect(nameKeys(place, { isClean: false, by: identityKeyAt(place) })).toMatchObject({ ok: true });
    }
    commit(6_099);
    expect(control.state.phase.kind).toBe('preparing');
    commit(6_100);
    expect(control.next?.replicas.map(({ keysSince }) => keysSince)).toEqual(
      Array(4).fill({ epoch: 1, timestamp: 6_100 }),
    );
    expect(control.next?.replicas.map(({ cleanSince }) => cleanSince.epoch)).toEqual([0, 0, 0, 0]);
  });

  it('takes keys of those without a keeper as they come: they name none before they are clean', () => {
    commit(6_000);
    for (const place of [1, 2, 3]) nameKeys(place, { isClean: false });
    commit(6_001);
    expect(control.state.phase.kind).toBe('preparing');
    nameKeys(0, { isClean: false });
    commit(6_002);
    expect(control.state.phase.kind).toBe('resharing');
  });

  it('fixes who is next with the last keys it waits for, once there is a key to deal on', () => {
    commit(6_000);
    for (const place of [0, 1, 2, 3]) nameKeys(place);
    commit(6_001, { isHeld: false, isNextHeld: false });
    expect(control.state.phase.kind).toBe('preparing');
    commit(6_002);
    expect(control.state.phase.kind).toBe('resharing');
    expect(control.next?.replicas.map(({ cleanSince }) => cleanSince.epoch)).toEqual([1, 0, 0, 0]);
    expect(nameKeys(1, { attempt: 'b' })).toMatchObject({ code: 'too-late' });
  });

  it('closes with the commit after which its successor holds the key, and takes none after that', () => {
    commit(6_000);
    commit(6_100);
    // Whoever held it before its membership was fixed held something else.
    expect(commit(6_101)).toEqual({ isClosing: false });
    expect(commit(6_102, { isHeld: true, isNextHeld: true })).toEqual({ isClosing: true });
    expect(control.isClosed).toBe(true);
    expect(control.dueAtClockMs).toBeUndefined();
    expect(() => commit(6_103)).toThrow('invariant');
  });

  it('takes what is approved while it ends for the change after', () => {
    const add: AdminAction = { kind: 'add', replica: simulatedReplica(4, plainCurve, 'awareness') };
    commit(6_000);
    commit(6_100);
    expect(propose(add)).toMatchObject({ ok: true, value: { status: 'approved' } });
    expect(control.next?.replicas).toHaveLength(4);
    expect(control.state.approved).toEqual([add]);
    expect(beginEpoch({ body, sharingEpoch: 1 }, began, control.state).approved).toEqual([add]);
  });

  it('gives the turn to each replica in its epoch, to as many at once as may be in recovery', () => {
    const turns = (n: number, f: number, k: number): readonly string[][] =>
      [0, 1, 2, 3, 4, 5].map((epoch) => {
        const of = bodyOf(simulatedMembership({ n, f, k }, defaultParameters, 1), { name: 'n', service: 's' });
        control = controlOf(beginEpoch({ body: { ...of, epoch }, sharingEpoch: epoch }, began));
        commit(6_000);
        const { phase } = control.state;
        return phase.kind === 'preparing' ? [...phase.turn] : [];
      });
    expect(turns(4, 1, 0)).toEqual([['r0'], ['r1'], ['r2'], ['r3'], ['r0'], ['r1']]);
    expect(turns(8, 1, 2)).toEqual([
      ['r0', 'r1'],
      ['r2', 'r3'],
      ['r4', 'r5'],
      ['r6', 'r7'],
      ['r0', 'r1'],
      ['r2', 'r3'],
    ]);
  });

  it('says when something is due that nobody makes commits for', () => {
    expect(control.dueAtClockMs).toBe(6_000);
    commit(6_500);
    expect(control.dueAtClockMs).toBe(6_600);
    commit(6_600);
    expect(control.dueAtClockMs).toBeUndefined();
  });
});

describe('a successor', () => {
  beforeEach(() => {
    control = controlOf(beginEpoch({ body, sharingEpoch: 0 }, began));
  });

  it('is taken while the epoch is being prepared, and again as it was', () => {
    expect(nameKeys(1)).toMatchObject({ code: 'too-early' });
    commit(6_000);
    expect(nameKeys(1)).toMatchObject({ ok: true, value: { status: 'taken', epoch: 1, serial: 1 } });
    const { state } = control;
    expect(nameKeys(1)).toMatchObject({ ok: true });
    expect(control.state).toBe(state);
  });

  it.each<readonly [string, Parameters<typeof nameKeys>[1], string]>([
    ['for another service', { serviceId: '00'.repeat(32) as typeof serviceId }, 'bad-signature'],
    ['of somebody else', { replicaId: 'r9' }, 'unknown-replica'],
    ['for this epoch', { epoch: 0 }, 'wrong-epoch'],
    ['for the epoch after the next', { epoch: 2 }, 'wrong-epoch'],
    ['that another replica certified', { by: keyOf('replica 2') }, 'bad-signature'],
    ['whose new key has not signed it', { keys: publicKeysOf(plainCurve, freshSecrets(1, 'b')) }, 'bad-signature'],
  ])('%s is refused', (_, change, code) => {
    commit(6_000);
    const { state } = control;
    expect(nameKeys(1, change)).toMatchObject({ ok: false, code });
    expect(control.state).toBe(state);
  });

  it('names no key of another replica', () => {
    commit(6_000);
    nameKeys(2);
    const mine = publicKeysOf(plainCurve, freshSecrets(1, 'a'));
    const theirs = publicKeysOf(plainCurve, freshSecrets(2, 'a'));
    const present = body.replicas[3];
    for (const keys of [
      { ...mine, linkKeyDigest: theirs.linkKeyDigest },
      { ...mine, encryptionKey: theirs.encryptionKey },
      { ...mine, linkKeyDigest: present?.linkKeyDigest ?? mine.linkKeyDigest },
      { ...mine, encryptionKey: 'ff'.repeat(48) },
    ]) {
      expect(nameKeys(1, { keys })).toMatchObject({ code: 'not-possible' });
    }
    expect(nameKeys(1, { keys: mine })).toMatchObject({ ok: true });
  });

  it('does not name the identity key of anybody as its signing key, not even its own', () => {
    control = controlOf(beginEpoch({ body: bodyWithKeepers(), sharingEpoch: 0 }, began));
    commit(6_000);
    for (const place of [1, 2]) {
      const identity = identityKeyAt(place);
      const keys = { ...publicKeysOf(plainCurve, freshSecrets(1, 'a')), signingKey: identity.publicKey.text };
      const owned = nameKeys(1, { by: identityKeyAt(1), keys, owner: identity });
      expect(owned).toMatchObject({ code: 'not-possible' });
    }
    expect(control.state.successors).toEqual([]);
  });

  it('by awareness is the only one: a second key makes a dispute that outlasts the epoch', () => {
    commit(6_000);
    nameKeys(3);
    // The same keys said to be clean are no second ones.
    expect(nameKeys(3, { serial: 2 })).toMatchObject({ ok: true });
    expect(nameKeys(3, { serial: 3, attempt: 'b' })).toMatchObject({ code: 'disputed' });
    expect(control.state).toMatchObject({ disputed: ['r3'], successors: [] });
    expect(nameKeys(3, { serial: 4 })).toMatchObject({ code: 'disputed' });
    for (const place of [0, 1, 2]) nameKeys(place);
    commit(6_001);
    // It is not waited for.
    expect(control.next?.replicas.map(({ keysSince }) => keysSince.epoch)).toEqual([1, 1, 1, 0]);
    expect(beginEpoch({ body, sharingEpoch: 1 }, began, control.state).disputed).toEqual(['r3']);
    const without = { ...body, replicas: body.replicas.slice(0, 3) };
    expect(beginEpoch({ body: without, sharingEpoch: 1 }, began, control.state).disputed).toEqual([]);
  });

  it('by an identity key is replaced by a later one, never by an earlier', () => {
    control = controlOf(beginEpoch({ body: bodyWithKeepers(), sharingEpoch: 0 }, began));
    commit(6_000);
    const by = identityKeyAt(3);
    expect(nameKeys(3)).toMatchObject({ code: 'bad-signature' });
    expect(nameKeys(3, { by, serial: 5 })).toMatchObject({ ok: true });
    expect(nameKeys(3, { by, serial: 5, attempt: 'b' })).toMatchObject({ code: 'stale' });
    expect(nameKeys(3, { by, serial: 4, attempt: 'b' })).toMatchObject({ code: 'stale' });
    expect(nameKeys(3, { by, serial: 6, attempt: 'b' })).toMatchObject({ ok: true });
    expect(control.state.successors[0]?.statement.serial).toBe(6);
    expect(control.state.disputed).toEqual([]);
  });
});

describe('an approval', () => {
  it('is of an administrator, for this epoch and as it was signed', () => {
    const action = { kind: 'remove', replicaId: 'r1' } as const;
    expect(propose(action, { by: keyOf('nobody') })).toMatchObject({ code: 'bad-signature' });
    expect(propose(action, { epoch: 1 })).toMatchObject({ code: 'wrong-epoch' });
    expect(propose(action)).toMatchObject({ ok: true });
    expect(propose({ kind: 'rule', f: 9, k: 9 })).toMatchObject({ code: 'not-possible' });
  });

  it('finds room, or is refused, however many there are', () => {
    const replicas = Array.from({ length: 40 }, (_, i) => simulatedReplica(i + 10, plainCurve, 'awareness'));
    const outcomes = replicas.map((replica) => propose({ kind: 'add', replica }));
    const taken = outcomes.filter(({ ok }) => ok).length;
    expect(taken).toBeLessThanOrEqual(32);
    expect(taken).toBeGreaterThan(20);
    expect(control.state.approved).toHaveLength(taken);
    const bytes = encodeEpochState(control.state);
    expect(decodeEpochState(bytes)).toEqual({ ok: true, value: control.state });
  });
});

describe('what anybody may hand in as often as he likes', () => {
  const action = { kind: 'remove', replicaId: 'r1' } as const;
  const never = (): never => {
    throw new Error('asked');
  };

  it('is the question where the epoch stands: it is answered once for each state', () => {
    const ask = () => control.apply('coterie.epoch', encodeValue(null));
    const answer = ask();
    expect(ask()).toBe(answer);
    propose(action);
    expect(ask()).not.toEqual(answer);
  });

  it('is what no administrator has signed: nothing is planned for that', () => {
    const proposal = encodeAdminProposal({ serviceId, epoch: 0, action });
    const context = { administrators: rules.administrators, planned: never, isEncryptionKey: never, isEnding: false };
    for (const input of [null, { proposal, administrator: 0, signature: new Uint8Array(64) }]) {
      expect(takeApproval(control.state, input, context)).toMatchObject({ outcome: { ok: false } });
    }
  });

  it('is what one administrator has signed: it changes nothing a second time', () => {
    const keys = [administrator.publicKey.text, keyOf('another').publicKey.text];
    control = controlOf(control.state, { administrators: { approvals: 2, keys } });
    const waiting = propose(action);
    const { state } = control;
    expect(waiting).toMatchObject({ ok: true, value: { status: 'waiting', approvals: 1 } });
    expect(propose(action)).toEqual(waiting);
    expect(control.state).toBe(state);
  });

  it('is a successor that was taken: no signature is checked for it again', () => {
    commit(6_000);
    nameKeys(1);
    const [taken] = control.state.successors;
    if (taken === undefined) throw new Error('none was taken');
    const unsigned = { ...taken, certificate: new Uint8Array(64), possession: new Uint8Array(64) };
    const input = { successor: encodeSuccessor(unsigned) };
    expect(takeSuccessor(control.state, input, () => true)).toMatchObject({ outcome: { code: 'bad-signature' } });
    const state = { ...control.state, successors: [unsigned] };
    const again = takeSuccessor(state, input, never);
    expect(again).toEqual({ outcome: { ok: true, value: { status: 'taken', epoch: 1, serial: 1 } }, state });
  });
});

describe('whatever comes in', () => {
  it('is answered, and leaves a state that has its encoding', () => {
    const name = fc.constantFrom('coterie.successor', 'coterie.admin', 'coterie.epoch', 'coterie.x');
    const bytes = fc.uint8Array({ maxLength: 400 });
    const value = fc.oneof(
      fc.record({ successor: bytes }),
      fc.record({ proposal: bytes, administrator: fc.integer(), signature: bytes }),
      fc.constantFrom(null, [], '', { __x: 1 }),
    );
    const input = fc.oneof(
      bytes,
      value.map((each) => encodeValue(each)),
    );
    fc.assert(
      fc.property(name, input, (operation, encoded) => {
        const outcome = control.apply(operation, encoded);
        if (!outcome.ok) expect(outcome.message.length).toBeGreaterThan(0);
        expect(decodeEpochState(encodeEpochState(control.state))).toEqual({ ok: true, value: control.state });
      }),
      { numRuns: 200 },
    );
  });
});
