/**
 * Faulty replicas of key generation: dealers that deal wrongly, holders that complain falsely or open lies.
 */

import { simulatedSecrets } from '../../../simulator/session-secrets.ts';
import { decodeComplaint, discloseSharedKey, encodeComplaint } from '../../crypto/complaint.ts';
import { type Dealing, decodeDealing, encodeDealing } from '../../crypto/dealing.ts';
import { deal, encryptionKeyOf } from '../../crypto/verifiable-sharing.ts';
import type { Duty } from '../../wire/block.ts';
import { dutyKinds } from '../../wire/duty.ts';
import { holderKeysOf } from '../holder-keys.ts';
import {
  complaintDuty,
  type DealingName,
  dealingContext,
  dealingDuty,
  decodeKeyDuty,
  nameOfDealing,
  openingDuty,
} from '../key-duty.ts';
import type { Faulty, View } from './key-cluster.ts';

type Deal = Parameters<typeof deal>[0];

export function isKind({ kind }: Duty, name: keyof typeof dutyKinds): boolean {
  return kind === dutyKinds[name];
}

const withoutDealing = (owed: readonly Duty[]): readonly Duty[] => owed.filter((duty) => !isKind(duty, 'dealing'));

/** What this replica deals when all is right, with changes. */
export function dealingBy({ curve, membership, self }: View, changes: Partial<Deal> = {}): Dealing {
  return deal({
    curve,
    context: dealingContext(membership, self),
    threshold: membership.rule.f + 1,
    holderKeys: holderKeysOf(curve, membership.members),
    seed: simulatedSecrets(self).seed,
    ...changes,
  });
}

const encodedDealingBy = (view: View, changes: Partial<Deal> = {}): Uint8Array =>
  encodeDealing(view.curve, dealingBy(view, changes));

/** Encrypts to keys that nobody has in place of those of the victims, who read nonsense. */
export function dealingWrongFor(view: View, victims: readonly number[]): Uint8Array {
  const { curve, membership } = view;
  const nobody = encryptionKeyOf(curve, 4_711n);
  const holderKeys = holderKeysOf(curve, membership.members).map((key, holder) =>
    victims.includes(holder) ? nobody : key,
  );
  return encodedDealingBy(view, { holderKeys });
}

/** Deals as it likes and does everything else as it should. */
const dealer =
  (dealings: (view: View) => readonly Uint8Array[]): Faulty =>
  (view) => [...dealings(view).map(dealingDuty), ...withoutDealing(view.owed)];

/** The first dealing of another dealer that is in a commit. */
function dealingOfAnother({ committed, self }: View): Uint8Array | undefined {
  return committed.find(({ author, duty }) => author !== self && isKind(duty, 'dealing'))?.duty.payload;
}

export const silent: Faulty = () => [];
/** Answers others and deals nothing. */
export const dealsNothing: Faulty = dealer(() => []);
export const dealsWronglyTo = (victims: (view: View) => readonly number[]): Faulty =>
  dealer((view) => [dealingWrongFor(view, victims(view))]);
export const dealsTwice: Faulty = dealer((view) => [
  encodedDealingBy(view),
  encodedDealingBy(view, { seed: new Uint8Array(32).fill(view.self) }),
]);
/** Commits to one coefficient more, or one less, than there should be. */
export const dealsOfDegree = (more: number): Faulty =>
  dealer((view) => [encodedDealingBy(view, { threshold: view.membership.rule.f + 1 + more })]);
export const dealsTruncated: Faulty = dealer((view) => [encodedDealingBy(view).subarray(0, -32)]);
export const dealsLate: Faulty = dealer((view) =>
  view.machine.transcript === undefined ? [] : [encodedDealingBy(view)],
);
/** What it dealt in another epoch, and so is bound to that one. */
export const dealsFromAnotherEpoch: Faulty = dealer((view) => [
  encodedDealingBy(view, { context: dealingContext({ ...view.membership, epoch: 7 }, view.self) }),
]);
export const dealsOfAnother: Faulty = dealer((view) => {
  const other = dealingOfAnother(view);
  return other === undefined ? [] : [other];
});
/** Takes another's R, hoping that complaints about it give away what the other has dealt. */
export const copiesEphemeral: Faulty = dealer((view) => {
  const { curve, membership } = view;
  const shape = { threshold: membership.rule.f + 1, holders: membership.rule.n };
  const other = decodeDealing(curve, dealingOfAnother(view) ?? new Uint8Array(), shape);
  return other === undefined ? [] : [encodeDealing(curve, { ...dealingBy(view), ephemeral: other.ephemeral })];
});

/** The dealings that are in commits, with their names. */
function dealingsIn({ curve, membership, committed }: View): readonly (DealingName & { readonly dealing: Dealing })[] {
  const shape = { threshold: membership.rule.f + 1, holders: membership.rule.n };
  return committed.flatMap(({ author, duty }) => {
    const dealing = isKind(duty, 'dealing') ? decodeDealing(curve, duty.payload, shape) : undefined;
    return dealing === undefined ? [] : [{ ...nameOfDealing(author, duty.payload), dealing }];
  });
}

/** Complains about everybody, with the true shared key: the ciphertexts are right. Confirms nothing. */
export const complainsFalsely: Faulty = (view) => {
  const { curve, membership, self, owed } = view;
  const { decryptionKey } = simulatedSecrets(self);
  const complaints = dealingsIn(view).map(({ dealing, ...about }) => {
    const context = dealingContext(membership, about.dealer);
    const complaint = discloseSharedKey({ curve, context, dealing, holder: self, decryptionKey });
    return complaintDuty(about, encodeComplaint(curve, complaint));
  });
  return [...owed.filter((duty) => isKind(duty, 'dealing')), ...complaints];
};

/** Complains with a shared key that is not the right one, and with bytes that are no complaint. */
export const complainsWithLies: Faulty = (view) => {
  const { curve, membership, self, random, owed } = view;
  const { decryptionKey } = simulatedSecrets(self);
  const complaints = dealingsIn(view).map(({ dealing, ...about }) => {
    if (random() < 0.3) return complaintDuty(about, new Uint8Array(7));
    const context = dealingContext(membership, about.dealer);
    const right = discloseSharedKey({ curve, context, dealing, holder: self, decryptionKey });
    const bytes = encodeComplaint(curve, { ...right, sharedKey: curve.g1.generator });
    return complaintDuty(about, decodeComplaint(curve, bytes) === undefined ? new Uint8Array() : bytes);
  });
  return [...owed.filter((duty) => isKind(duty, 'dealing')), ...complaints];
};

/** Opens what nobody asked for, and where it is asked, something else. */
export const opensLies: Faulty = (view) => {
  const lies = dealingsIn(view).map((about) => openingDuty(about, 1_234_567n));
  const honest = view.owed.filter((duty) => !isKind(duty, 'opening'));
  return view.machine.transcript === undefined ? honest : [...honest, ...lies];
};

/** Says things of no length, about nobody, and of dealings that are not there. */
export const babbles: Faulty = ({ owed, self, membership }) => {
  const nobody = nameOfDealing(membership.rule.n, new Uint8Array());
  const nothing = nameOfDealing(self, new Uint8Array());
  return [
    ...owed,
    ...[dutyKinds.response, dutyKinds.complaint, dutyKinds.opening].map((kind) => ({
      kind,
      payload: new Uint8Array(3),
    })),
    complaintDuty(nobody, new Uint8Array(112)),
    openingDuty(nothing, 5n),
    { kind: 200, payload: new Uint8Array(9) },
  ];
};

/** Which duty it is, in words, for tests that look at what is owed. */
export function describeDuty(duty: Duty): string {
  const decoded = decodeKeyDuty(duty);
  if (decoded?.ok !== true) return 'nothing';
  return decoded.value.kind === 'dealing' ? 'dealing' : `${decoded.value.kind} ${decoded.value.about.dealer}`;
}
