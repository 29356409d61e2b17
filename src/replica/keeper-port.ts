/**
 * Keeper port: the replica's end of the channel to the keeper that started it.
 *
 * In: what the replica wants of its keeper. Out: the keeper's answers, read strictly. There is none in a replica that no
 * keeper started. One request for a signature is open at a time; others wait for it.
 */
import { setTimer } from '../platform/clock.ts';
import {
  type KeeperToReplica,
  keeperVariable,
  type ReplicaToKeeper,
  readKeeperToReplica,
} from '../wire/keeper-message.ts';
import { limits } from '../wire/limits.ts';
import { encodeSuccessorStatement, type SuccessorStatement } from '../wire/successor.ts';

/** What the keeper signed: the statement with this serial, and this word on whether the replica is clean. */
export interface KeeperCertificate {
  /** 64 bytes. */
  readonly certificate: Uint8Array;
  readonly serial: number;
  readonly isClean: boolean;
}

/** The service's statement of who the replicas of the present epoch are. */
export interface SignedMembership {
  /** Encoded. */
  readonly statement: Uint8Array;
  /** 48 bytes, by the service key. */
  readonly signature: Uint8Array;
}

/** The keeper did not sign. The replica may ask again later. */
export class NotCertifiedError extends Error {
  override readonly name = 'NotCertifiedError';
  /** `refused`: the message says why. `silent`: no answer in time. `gone`: the channel has ended. */
  readonly code: 'keeper-refused' | 'keeper-silent' | 'keeper-gone';
  readonly hint = 'The log of the keeper says more.';

  constructor(code: NotCertifiedError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

type SignAnswer = Exclude<KeeperToReplica, { readonly kind: 'turn-refused' }>;

/** What a process has when it was started with a channel: `process` itself, but in tests. */
export interface KeeperChannel {
  readonly connected: boolean;
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  on(event: 'disconnect', listener: () => void): unknown;
}

/** A pairing on a slow machine, behind another one. */
const patienceMs = 30_000;
/** A keeper that has not begun to make us clean in this time will not. */
const turnPatienceMs = 10_000;

export class KeeperPort {
  readonly #channel: KeeperChannel;
  /** Takes the answer to the request that is open. */
  #answer: ((answer: SignAnswer | undefined) => void) | undefined;
  /** Takes it that there will be no clean start. */
  #noTurn: (() => void) | undefined;
  /** Ends when the request before has ended. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(channel: KeeperChannel) {
    this.#channel = channel;
    channel.on('message', (raw) => {
      const message = readKeeperToReplica(raw);
      if (!message.ok) return;
      if (message.value.kind === 'turn-refused') this.#noTurn?.();
      else this.#answer?.(message.value);
    });
    channel.on('disconnect', () => {
      this.#answer?.(undefined);
      this.#noTurn?.();
    });
  }

  /** The port of this process; undefined when no keeper started it. Call it once. */
  static fromProcess(): KeeperPort | undefined {
    if (process.env[keeperVariable] !== '1' || process.send === undefined || !process.connected) return undefined;
    return new KeeperPort(process as KeeperChannel);
  }

  /**
   * Has the next session keys certified by the identity key. The serial and `isClean` of `statement` are not looked at: the
   * keeper says both. Rejects with a `NotCertifiedError`.
   */
  signSuccessor(statement: SuccessorStatement, membership: SignedMembership): Promise<KeeperCertificate> {
    const asked = this.#last.then(() => this.#ask(statement, membership));
    this.#last = asked.catch(() => {});
    return asked;
  }

  /**
   * My recovery turn has come: please start me clean. The keeper ends this process soon; resolves when it will not: it has
   * done so for this epoch before, or is silent, or gone.
   */
  myTurn(epoch: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimer(turnPatienceMs, () => this.#noTurn?.(), { background: true });
      this.#noTurn = () => {
        timer.cancel();
        this.#noTurn = undefined;
        resolve();
      };
      this.#tell({ kind: 'turn', epoch });
      if (!this.#channel.connected) this.#noTurn();
    });
  }

  /** This clean process names keys that the keeper does not certify: after a crash it needs these, and no clean start. */
  turnIsOver(epoch: number): void {
    this.#tell({ kind: 'turn-over', epoch });
  }

  /** So that the keeper can pin the service key. */
  showMembership({ statement, signature }: SignedMembership): void {
    this.#tell({ kind: 'membership', membership: hexOf(statement) + hexOf(signature) });
  }

  status({ epoch, phase }: { readonly epoch: number; readonly phase: string }): void {
    this.#tell({ kind: 'status', epoch, phase: phase.slice(0, limits.keeperPhaseLengthMax) });
  }

  async #ask(
    statement: SuccessorStatement,
    { statement: stated, signature }: SignedMembership,
  ): Promise<KeeperCertificate> {
    const answer = await this.#exchange({
      kind: 'sign-successor',
      statement: hexOf(encodeSuccessorStatement(statement)),
      membership: hexOf(stated) + hexOf(signature),
    });
    if (answer.kind === 'refused')
      throw new NotCertifiedError('keeper-refused', `the keeper refused: ${answer.reason}`);
    const { certificate, serial, isClean } = answer;
    return { certificate: Buffer.from(certificate, 'hex'), serial, isClean };
  }

  #exchange(message: ReplicaToKeeper): Promise<SignAnswer> {
    return new Promise((resolve, reject) => {
      const timer = setTimer(patienceMs, () => end('keeper-silent'), { background: true });
      const end = (answer: SignAnswer | undefined | 'keeper-silent'): void => {
        timer.cancel();
        this.#answer = undefined;
        if (answer === 'keeper-silent') reject(new NotCertifiedError(answer, 'the keeper gave no answer in time'));
        else if (answer === undefined) reject(new NotCertifiedError('keeper-gone', 'the keeper is gone'));
        else resolve(answer);
      };
      this.#answer = end;
      this.#tell(message);
      if (!this.#channel.connected) end(undefined);
    });
  }

  #tell(message: ReplicaToKeeper): void {
    // When the channel breaks, its end is told of by "disconnect".
    if (this.#channel.connected) this.#channel.send?.(message, () => {});
  }
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
