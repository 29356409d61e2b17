/**
 * Administration: the people with administrator keys, who approve what a scenario says at the time it says, each with a request of
 * its own, again and again until it is carried out.
 */
import type { PairingCurve } from '../src/crypto/curve.ts';
import type { AdminAction } from '../src/wire/admin-action.ts';
import { adminPreimage, encodeAdminProposal } from '../src/wire/admin-action.ts';
import { type Genesis, type RecoveryMethod, serviceIdOf } from '../src/wire/genesis.ts';
import { encodeRequest, requestPreimage } from '../src/wire/request.ts';
import { encodeValue } from '../src/wire/value.ts';
import { keyOf, type Signatures } from './keys.ts';
import type { Prng } from './prng.ts';
import { replicaIdAt, simulatedReplica } from './simulated-membership.ts';
import type { World } from './world.ts';

/** What a scenario asks of its administrators, by places. */
export type PlannedAction =
  | { readonly kind: 'advance' }
  | { readonly kind: 'add'; readonly place: number }
  | { readonly kind: 'remove'; readonly place: number }
  | { readonly kind: 'replace'; readonly place: number; readonly by: number }
  | { readonly kind: 'rule'; readonly f: number; readonly k: number };

export interface PlannedChange {
  readonly atMs: number;
  readonly actions: readonly PlannedAction[];
}

export interface AdministrationOptions {
  readonly world: World;
  readonly prng: Prng;
  readonly genesis: Genesis;
  readonly curve: PairingCurve;
  readonly recoveryAt: (place: number) => RecoveryMethod;
  readonly signatures: Signatures;
  readonly standing: () => { readonly places: readonly number[]; readonly epoch: number };
  readonly request: (place: number, request: Uint8Array) => void;
  /** The replica in this place is started for the first time. */
  readonly joins: (place: number) => void;
}

const repeatMs = 200;
/** Repetitions of one approval, in an epoch and in the next one when it came too late. */
const repetitionsMax = 12;

export class Administration {
  readonly #options: AdministrationOptions;

  constructor(options: AdministrationOptions) {
    this.#options = options;
  }

  /** Each administrator that is needed approves these actions at this time. */
  plan({ atMs, actions }: PlannedChange): void {
    this.#options.world.after(atMs, 'administrators decide', () => {
      for (const action of actions) this.decide(action);
    });
  }

  decide(planned: PlannedAction): void {
    const { genesis, joins } = this.#options;
    const action = this.#actionOf(planned);
    for (let person = 0; person < genesis.administrators.approvals; person++) this.#approve(action, person, 0);
    if (planned.kind === 'add') joins(planned.place);
    if (planned.kind === 'replace') joins(planned.by);
  }

  #actionOf(planned: PlannedAction): AdminAction {
    const { curve, recoveryAt } = this.#options;
    switch (planned.kind) {
      case 'add':
        return { kind: 'add', replica: simulatedReplica(planned.place, curve, recoveryAt(planned.place)) };
      case 'remove':
        return { kind: 'remove', replicaId: replicaIdAt(planned.place) };
      case 'replace': {
        const replica = simulatedReplica(planned.by, curve, recoveryAt(planned.by));
        return { kind: 'replace', replicaId: replicaIdAt(planned.place), replica };
      }
      default:
        return planned;
    }
  }

  #approve(action: AdminAction, person: number, times: number): void {
    const { world, prng, standing, request, genesis, signatures } = this.#options;
    if (times >= repetitionsMax) return;
    const { places, epoch } = standing();
    const key = administratorKey(person);
    const proposal = { serviceId: serviceIdOf(genesis), epoch, action };
    const signature = signatures.sign(key, adminPreimage(proposal));
    const input = encodeValue({ proposal: encodeAdminProposal(proposal), administrator: person, signature });
    const { serviceId } = proposal;
    const encoded = encodeRequest(
      {
        client: key.publicKey.bytes,
        session: { birth: 0, nonce: prng.bytes(16) },
        number: 1,
        acknowledged: 0,
        operations: [{ name: 'coterie.admin', input }],
      },
      (digest) => signatures.sign(key, requestPreimage(serviceId, digest)),
    );
    request(prng.pick(places), encoded.bytes);
    // An approval of an epoch that is over is good for nothing: it is given anew, unless the next one has it already.
    world.after(repeatMs, '', () => {
      if (standing().epoch === epoch) this.#approve(action, person, times + 1);
    });
  }
}

export function administratorKey(person: number): ReturnType<typeof keyOf> {
  return keyOf(`administrator ${person}`);
}
