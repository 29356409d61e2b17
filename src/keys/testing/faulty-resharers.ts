/**
 * Faulty resharers: dealers that do not deal what they hold, or not to everybody; holders that complain falsely, before the
 * change and after it, or open lies.
 */
import { discloseSharedKey, encodeComplaint } from '../../crypto/complaint.ts';
import { type Dealing, decodeDealing, encodeDealing } from '../../crypto/dealing.ts';
import { deal, encryptionKeyOf } from '../../crypto/verifiable-sharing.ts';
import type { Duty } from '../../wire/block.ts';
import { dutyKinds } from '../../wire/duty.ts';
import {
  asNextDuty,
  asPresentDuty,
  complaintDuty,
  type DealingName,
  dealingDuty,
  nameOfDealing,
  openingDuty,
  responseDuty,
} from '../key-duty.ts';
import type { Sharing } from '../sharing.ts';
import { resharingOf } from '../sharing-source.ts';
import { type FaultyResharer, type ResharingView, secretsIn } from './resharing-cluster.ts';

type Deal = Parameters<typeof deal>[0];

const isNext = ({ kind }: Duty): boolean => kind >= dutyKinds.nextDealing && kind <= dutyKinds.nextOpening;
const isDealing = ({ kind }: Duty): boolean => kind === dutyKinds.nextDealing;

function sharingOf({ cluster }: ResharingView): Sharing {
  return resharingOf(cluster.curve, cluster.source, cluster.target);
}

/** What this replica deals when all is right, with changes. */
function dealingBy(view: ResharingView, share: bigint, changes: Partial<Deal> = {}): Uint8Array {
  const { cluster, replicaId } = view;
  const { curve, threshold, holderKeys, contextOf } = sharingOf(view);
  const dealing = deal({
    curve,
    context: contextOf(cluster.dealers.indexOf(replicaId)),
    threshold,
    holderKeys,
    seed: secretsIn(cluster.source.transcript.epoch, replicaId).seed,
    constant: share,
    ...changes,
  });
  return encodeDealing(curve, dealing);
}

/** Deals as it likes before the change, and does everything else as it should. */
const dealer =
  (dealings: (view: ResharingView, share: bigint) => readonly Uint8Array[]): FaultyResharer =>
  (view) => {
    if (view.hasEntered || !view.cluster.dealers.includes(view.replicaId)) return view.owed;
    const share = view.cluster.from.shares.get(view.replicaId) as bigint;
    const dealt = dealings(view, share).map((encoded) => asNextDuty(dealingDuty(encoded)));
    return [...dealt, ...view.owed.filter((duty) => !isDealing(duty))];
  };

export const silent: FaultyResharer = () => [];
export const dealsNothing: FaultyResharer = dealer(() => []);
/** A number of its own in place of its key share: were it taken, the key would be another. */
export const dealsAnotherSecret: FaultyResharer = dealer((view) => [dealingBy(view, 4_711n)]);
export const dealsShareOfAnother: FaultyResharer = dealer((view) => {
  const { dealers, from } = view.cluster;
  const other = dealers.find((id) => id !== view.replicaId) as string;
  return [dealingBy(view, from.shares.get(other) as bigint)];
});
export const dealsWronglyTo = (victims: (view: ResharingView) => readonly string[]): FaultyResharer =>
  dealer((view, share) => {
    const { curve, holderKeys } = sharingOf(view);
    const nobody = encryptionKeyOf(curve, 4_711n);
    const wrong = victims(view);
    const keys = holderKeys.map((key, i) => (wrong.includes(view.cluster.holders[i] as string) ? nobody : key));
    return [dealingBy(view, share, { holderKeys: keys })];
  });
export const dealsOfDegree = (more: number): FaultyResharer =>
  dealer((view, share) => [dealingBy(view, share, { threshold: view.cluster.target.f + 1 + more })]);
export const dealsTwice: FaultyResharer = dealer((view, share) => [
  dealingBy(view, share),
  dealingBy(view, share, { seed: new Uint8Array(32).fill(9) }),
]);
/** What it would deal to other holders, or out of another sharing. */
export const dealsElsewhere: FaultyResharer = dealer((view, share) => {
  const { curve, source, target, dealers } = view.cluster;
  const elsewhere = resharingOf(curve, source, { ...target, epoch: target.epoch + 1 });
  return [dealingBy(view, share, { context: elsewhere.contextOf(dealers.indexOf(view.replicaId)) })];
});

/** The dealings that are in commits, with their names. */
function dealingsIn(view: ResharingView): readonly (DealingName & { readonly dealing: Dealing })[] {
  const { curve, threshold, holderKeys } = sharingOf(view);
  const shape = { threshold, holders: holderKeys.length };
  return view.committed.flatMap(({ author, duty }) => {
    const dealing = isDealing(duty) ? decodeDealing(curve, duty.payload, shape) : undefined;
    return dealing === undefined ? [] : [{ ...nameOfDealing(author, duty.payload), dealing }];
  });
}

const posted =
  ({ hasEntered }: ResharingView) =>
  (duty: Duty): Duty =>
    hasEntered ? duty : asNextDuty(duty);

const complaints =
  (isLie: boolean): FaultyResharer =>
  (view) => {
    const { cluster, replicaId } = view;
    const { curve, contextOf } = sharingOf(view);
    const holder = cluster.holders.indexOf(replicaId);
    const dealt = view.owed.filter(isDealing);
    if (holder === -1) return dealt;
    const { decryptionKey } = secretsIn(cluster.target.epoch, replicaId);
    const said = dealingsIn(view).map(({ dealing, ...about }) => {
      const context = contextOf(about.dealer);
      const right = discloseSharedKey({ curve, context, dealing, holder, decryptionKey });
      const complaint = isLie ? { ...right, sharedKey: curve.g1.generator } : right;
      return complaintDuty(about, encodeComplaint(curve, complaint));
    });
    return [...dealt, ...said.map(posted(view))];
  };

/** About everybody, with the true shared key: the ciphertexts are right. Confirms nothing. */
export const complainsFalsely: FaultyResharer = complaints(false);
export const complainsWithLies: FaultyResharer = complaints(true);

export const opensLies: FaultyResharer = (view) => {
  const isOpening = (duty: Duty): boolean =>
    duty.kind === dutyKinds.opening || asPresentDuty(duty)?.kind === dutyKinds.opening;
  const lies = dealingsIn(view).map((about) => posted(view)(openingDuty(about, 1_234_567n)));
  const right = view.owed.filter((duty) => !isOpening(duty));
  return view.cluster.correctMachines[0]?.isSettled === true ? [...right, ...lies] : right;
};

/** Nonsense, of both sides of the change on both sides of it. */
export const babbles: FaultyResharer = (view) => {
  const nobody = nameOfDealing(view.cluster.dealers.length, new Uint8Array());
  const nothing = nameOfDealing(0, new Uint8Array());
  const said = [
    dealingDuty(new Uint8Array(5)),
    ...[dutyKinds.response, dutyKinds.complaint, dutyKinds.opening].map((kind) => ({
      kind,
      payload: new Uint8Array(3),
    })),
    responseDuty(nobody),
    complaintDuty(nobody, new Uint8Array(112)),
    openingDuty(nothing, 5n),
  ];
  const owedDealing = view.owed.filter(isDealing);
  return [
    ...owedDealing,
    ...said,
    ...said.map(asNextDuty),
    ...view.owed.filter((duty) => isNext(duty) || view.hasEntered),
  ];
};
