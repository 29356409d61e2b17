/**
 * Keyless member: a replica in an epoch whose membership names session keys that it has lost (docs/protocol/epochs.md K2).
 *
 * It proposes nothing, signs nothing and has no links: whoever checks keys would refuse it. It keeps its home and its state as they are, says by
 * HTTP what it is, asks the others where the epoch stands, and while that is being prepared has its next keys vouched for by its identity key and
 * hands them in at the others. With the change of epoch it is a replica like any other again; `replica.ts` follows into that.
 * Trust: an attacker who controls it can have itself named keys as it could have before, and no more. What others say it believes when the service
 * signed it, or f + 1 of them say it alike.
 */
import type { Logger } from 'pino';
import { membershipOf } from '../membership/epochs.ts';
import type { Membership } from '../membership/membership.ts';
import { setTimer, type Timer } from '../platform/clock.ts';
import { epochPaths } from '../storage/epoch-files.ts';
import type { KeylessHome } from '../storage/home.ts';
import { malformed } from '../storage/whole-file.ts';
import type { Value } from '../wire/value.ts';
import type { Counters } from './counters.ts';
import { EpochInquiry, type EpochStanding } from './epoch-inquiry.ts';
import type { HttpBackend } from './http/backend.ts';
import { HttpInterface } from './http/http-interface.ts';
import type { KeeperPort, SignedMembership } from './keeper-port.ts';
import type { ProofContext } from './proven-epoch.ts';
import { type ReplicaStatus, statusOf } from './replica-status.ts';
import { SuccessorMaker } from './successor-maker.ts';

const lookEveryMs = 1_000;

export interface KeylessMemberOptions {
  readonly home: KeylessHome;
  readonly logger: Logger;
  readonly counters: Counters;
  readonly keeper: KeeperPort | undefined;
  /** This process was started clean. */
  readonly isClean: boolean;
  readonly context: ProofContext;
  readonly uptimeMs: () => number;
  /** What proves that the epoch before is over, to be shown to others. */
  readonly closingProof: () => Uint8Array | undefined;
}

export class KeylessMember {
  readonly #options: KeylessMemberOptions;
  readonly #membership: Membership;
  readonly #inquiry: EpochInquiry;
  readonly #successors: SuccessorMaker;
  readonly #http: HttpInterface;
  readonly #ended = new AbortController();
  #signed: SignedMembership | undefined;
  #standing: EpochStanding | undefined;
  #timer: Timer | undefined;

  constructor(options: KeylessMemberOptions) {
    const { home, logger, counters, keeper, isClean, context } = options;
    const { statement } = home.record;
    this.#options = options;
    this.#membership = membershipOfHome(home);
    const member = this.#membership.members[home.replicaIndex];
    if (member === undefined) throw new Error('invariant: a member that is none');
    const { replicaId } = home;
    this.#inquiry = new EpochInquiry({ statement, replicaId, context, signal: this.#ended.signal });
    this.#successors = new SuccessorMaker({
      home,
      member,
      presentKey: undefined,
      keeper,
      isClean,
      // It has no say as it is.
      canBeSpared: () => true,
      logger,
      // The next term reads them from the home.
      give: () => undefined,
      submit: (successor) => this.#inquiry.handIn(successor),
      certifiedMembership: () => this.#signed && { encoded: this.#signed.statement, signature: this.#signed.signature },
    });
    this.#http = new HttpInterface({
      ...member.httpAddress,
      backend: this.#backend(),
      onCounted: (event) => counters.count(event),
      onMistake: (error) => logger.error({ err: error }, 'a mistake in answering by HTTP'),
    });
  }

  /** Rejects with a `TransportError` when it cannot listen. */
  async start(): Promise<void> {
    await this.#http.listen();
    const { home, logger, keeper } = this.#options;
    const { epoch } = home;
    const what =
      'the keys of this replica in this epoch are lost: it signs nothing and has no links; it names new ones when the epoch ends, and takes part from the next on';
    logger.warn({ epoch, pid: process.pid }, what);
    keeper?.status({ epoch, phase: 'without-keys' });
    this.#lookSoon();
  }

  get epoch(): number {
    return this.#membership.epoch;
  }

  /** Keys of ours were certified, for the next epoch. */
  get hasNamed(): boolean {
    return this.#successors.hasNamed;
  }

  /** As far as enough of the others say, nothing is about to change. */
  get isQuiet(): boolean {
    return this.#standing?.phase === 'steady';
  }

  status(): ReplicaStatus {
    const { home, uptimeMs, counters } = this.#options;
    const { replicaId, replicaIndex, service, genesis, serviceKey } = home;
    return {
      ...statusOf({
        home: { replicaId, replicaIndex, service, genesis, isLogLost: true },
        membership: this.#membership,
        machine: undefined,
        connected: new Set(),
        requestsPerSecond: 0,
        uptimeMs: Math.round(uptimeMs()),
      }),
      keyState: 'without-share',
      ...(serviceKey === undefined ? {} : { serviceKey }),
      phase: 'without-keys',
      engineSizeBytes: 0,
      blockLogSizeBytes: 0,
      counters: counters.counts,
    };
  }

  async end(): Promise<void> {
    this.#ended.abort();
    this.#timer?.cancel();
    await Promise.all([this.#successors.end(), this.#http.close()]);
  }

  #lookSoon(): void {
    if (this.#ended.signal.aborted) return;
    this.#timer = setTimer(lookEveryMs, () => {
      this.#look()
        .catch((error: unknown) => {
          if (!this.#ended.signal.aborted)
            this.#options.logger.error({ err: error }, 'the keys for the next epoch failed');
        })
        .finally(() => this.#lookSoon());
    });
  }

  async #look(): Promise<void> {
    this.#standing = await this.#inquiry.standing();
    if (this.#standing === undefined || this.#ended.signal.aborted) return;
    const { phase, isMyTurn } = this.#standing;
    const epoch = this.#membership.epoch + 1;
    // An operator may need longer than the epoch waits.
    if (phase === 'steady') await this.#successors.prepare(epoch);
    if (phase !== 'preparing') return;
    this.#signed ??= await this.#inquiry.signedMembership();
    if (this.#signed !== undefined && !this.#ended.signal.aborted) {
      this.#successors.take({ epoch, isMyTurn, named: undefined });
    }
  }

  /** Everything that takes part in the epoch is refused; what the service signed is shown as long as it is here. */
  #backend(): HttpBackend {
    const refused = {
      kind: 'refused',
      code: 'not-ready',
      reason: 'this replica has lost its keys of this epoch; ask another one',
    } as const;
    return {
      replicaId: this.#options.home.replicaId,
      submit: async () => refused,
      submitAnonymous: async () => ({ request: new Uint8Array(), submitted: refused }),
      readState: async () => refused,
      certifiedHead: () => undefined,
      inclusionPath: () => undefined,
      consistencyPath: () => undefined,
      certifiedMembership: () => this.#signed && { encoded: this.#signed.statement, signature: this.#signed.signature },
      closingProof: () => this.#options.closingProof(),
      divergence: () => undefined,
      status: () => this.status() as unknown as Readonly<Record<string, Value>>,
    };
  }
}

function membershipOfHome({ genesis, record, directory }: KeylessHome): Membership {
  const membership = membershipOf(genesis, record.statement, record.statement);
  if (!membership.ok) throw malformed(`${directory}/${epochPaths.record}`, membership.reason);
  return membership.value;
}
