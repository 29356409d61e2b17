/**
 * Keeper: the small trusted program that starts a replica, and makes it clean again and again.
 *
 * In: its store, the manifest of the code, a clock, and what the replica process says, which the attacker may be saying. Out: a
 * replica that runs verified code, restarted when it ends, and started clean on its recovery turn and at the latest when the
 * keeper's own clock says so.
 * Trust: an attacker who controls the replica process can have it restarted, and have keys certified for the one epoch after
 * the present one, which are void when the replica was made clean; it can make the keeper run nothing, and read nothing that
 * belongs to another user. An attacker who controls the keeper is the replica for good. It opens no socket.
 * Source: trust.md §5 and §6; docs/operations/keeper.md.
 */
import type { Logger } from 'pino';
import type { SigningKey } from '../crypto/ed25519.ts';
import { monotonicMs, now, setTimer } from '../platform/clock.ts';
import type { Genesis } from '../wire/genesis.ts';
import { type ReplicaToKeeper, readReplicaToKeeper } from '../wire/keeper-message.ts';
import { limits } from '../wire/limits.ts';
import type { HomeReport, HomeWork } from './home-work.ts';
import { workOnHome } from './home-worker.ts';
import { KeeperError } from './keeper-error.ts';
import { isServiceKey, type KeeperStore, type PinnedHome, replicaOf } from './keeper-store.ts';
import { checkAtMost, firstDueMs, RecoveryClock, turnGroup } from './recovery-clock.ts';
import { ReplicaProcess } from './replica-process.ts';
import { endAllOf, processesOf, type ReplicaUser } from './replica-user.ts';
import { DeskVisitor, SigningDesk } from './signing-desk.ts';

export interface KeeperOptions {
  readonly store: KeeperStore;
  /** Absolute. */
  readonly home: string;
  readonly identityPath?: string | undefined;
  /** Undefined: the keeper's own user. */
  readonly user: ReplicaUser | undefined;
  /** The command line of the replica, started clean or not. */
  command(isClean: boolean): readonly [string, ...string[]];
  /** The command line of home work. */
  readonly homeCommand: readonly [string, ...string[]];
  readonly workingDirectory: string;
  /** Rejects when the code is not what it must be; asked before every start. */
  verifyCode(): Promise<void>;
  readonly atMostMs: number | undefined;
  readonly stopPatienceMs: number;
  readonly logger: Logger;
  /** A line of the replica's log, marked. */
  onLine(line: string): void;
  /** What the replica says that is not for the keeper; nobody has looked at it. */
  onOther(message: unknown): void;
}

interface Life {
  readonly process: ReplicaProcess;
  readonly visitor: DeskVisitor;
  readonly startedAtMs: number;
  /** The epoch of the turn that it was started clean for; null: it was not. */
  readonly turnOf: number | null;
  complaints: number;
}

/** Why a life is ended by the keeper. */
type Wish = 'stop' | 'turn' | 'clock';

export class Keeper {
  readonly replicaId: string;
  /** The public half of the identity key, 64 hex characters; undefined for a replica that recovers without. */
  readonly identityKey: string | undefined;
  readonly #options: KeeperOptions;
  readonly #pinned: PinnedHome;
  readonly #desk: SigningDesk;
  readonly #clock: RecoveryClock | undefined;
  #life: Life | undefined;
  #wish: Wish | undefined;
  #wake: () => void = () => {};
  #failures = 0;
  #failed: unknown;

  private constructor(
    options: KeeperOptions,
    parts: {
      readonly replicaId: string;
      readonly identityKey: string | undefined;
      readonly pinned: PinnedHome;
      readonly desk: SigningDesk;
      readonly clock: RecoveryClock | undefined;
    },
  ) {
    this.replicaId = parts.replicaId;
    this.identityKey = parts.identityKey;
    this.#options = options;
    this.#pinned = parts.pinned;
    this.#desk = parts.desk;
    this.#clock = parts.clock;
  }

  /** Checks all that can be checked before a start. Rejects with a `KeeperError` or a `HomeError`. */
  static async open(options: KeeperOptions): Promise<Keeper> {
    const { store, user, home, atMostMs, logger } = options;
    const record = await store.readRecord();
    await options.verifyCode();
    if (user !== undefined && record?.userId !== user.uid) await checkIsFree(user);
    if (user === undefined) {
      logger.warn(
        'the replica runs as the same user as its keeper: who takes it over can read the identity key and change the code. Run the keeper as root with --user',
      );
    }
    const known = await store.readPinned();
    const look = { home, look: true, putBack: null, serviceKey: null, clean: false };
    const pinned = known ?? pinnedBy(await workOnHome(options.homeCommand, user, look), home);
    const { genesis, serviceId, replicaId } = replicaOf(pinned);
    const key = await identityOf(genesis, replicaId, options);
    if (known === undefined) await store.pinHome(pinned);
    const clock =
      atMostMs === undefined ? undefined : clockOf(genesis, replicaId, atMostMs, record?.dueAtMs ?? undefined);
    const before = record ?? { version: 1, certifiedEpoch: -1, serial: 0, cleanedAtMs: now(), turnOf: null };
    await store.keepRecord({ ...before, dueAtMs: clock?.dueAtMs ?? null, userId: user?.uid ?? null });
    const serviceKey = await store.readServiceKey();
    const firstServiceKey = async (): Promise<string | undefined> => {
      // A clean start that begins meanwhile ends whoever looks, with all else of the user: then nothing was seen.
      const report = await workOnHome(options.homeCommand, user, look).catch((error: unknown) => {
        logger.debug({ err: error }, 'the home could not be looked at for a service key');
        return { serviceKey: null };
      });
      return report.serviceKey !== null && isServiceKey(report.serviceKey) ? report.serviceKey : undefined;
    };
    const desk = new SigningDesk({ store, key, replicaId, serviceId, serviceKey, logger, firstServiceKey });
    logger.info({ replicaId, home, userId: user?.uid, atMostMs }, 'keeping a replica');
    return new Keeper(options, { replicaId, identityKey: key?.publicKey.text, pinned, desk, clock });
  }

  get pid(): number | undefined {
    return this.#life?.process.pid;
  }

  /** Keeps the replica until `stop`. Rejects when the replica must not be started any more. */
  async run(): Promise<void> {
    try {
      while (!this.#isStopping()) {
        await this.#prepare();
        if (this.#isStopping()) break;
        const how = await this.#live();
        if (!this.#isStopping()) await this.#rest(how);
      }
      if (this.#failed !== undefined) throw this.#failed;
    } finally {
      await this.#sweep();
    }
    this.#options.logger.info('stopped');
  }

  /** Stops the replica and then the keeper; `run` resolves. */
  stop(): void {
    this.#wish = 'stop';
    this.#wake();
  }

  /** Nothing that the replica left behind outlives its keeper, where the user is the replica's alone. */
  async #sweep(): Promise<void> {
    if (this.#options.user !== undefined) await endAllOf(this.#options.user);
  }

  #isStopping(): boolean {
    return this.#wish === 'stop';
  }

  #record() {
    const { record } = this.#options.store;
    if (record === undefined) throw new Error('the keeper works without a record');
    return record;
  }

  /** What was left behind first, then the code, then the home: nothing runs that was not looked at, nor changes it afterwards. */
  async #prepare(): Promise<void> {
    const { store, home, user, homeCommand, logger } = this.#options;
    await this.#sweep();
    await this.#options.verifyCode();
    if (this.#wish === 'clock') await store.changeRecord({ turnOf: Math.max(0, this.#record().certifiedEpoch) });
    const clean = this.#record().turnOf !== null;
    const serviceKey = this.#desk.serviceKey ?? null;
    const work: HomeWork = { home, look: false, putBack: this.#pinned, serviceKey, clean };
    const { putBack, removed } = await workOnHome(homeCommand, user, work);
    if (putBack.length > 0) logger.warn({ putBack }, 'files of the home were not what they must be, and were put back');
    if (clean) logger.info({ removed }, 'the home is clean: the replica follows the others until the next epoch');
    if (this.#wish !== 'stop') this.#wish = undefined;
  }

  /** One life of the process. Resolves with how it ended. */
  async #live(): Promise<string> {
    const { store, command, user, workingDirectory, logger, onLine, stopPatienceMs } = this.#options;
    const { turnOf } = this.#record();
    const isClean = turnOf !== null;
    if (isClean) {
      this.#clock?.restart({ wallMs: now(), steadyMs: monotonicMs() });
      await store.changeRecord({ cleanedAtMs: now(), dueAtMs: this.#clock?.dueAtMs ?? null });
    }
    const process = new ReplicaProcess({
      command: command(isClean),
      user,
      workingDirectory,
      onMessage: (message) => this.#hear(life, message),
      onMalformed: (reason) => this.#complain(life, reason),
      onLine,
    });
    const visitor = new DeskVisitor({ turnOf });
    const life: Life = { process, visitor, startedAtMs: monotonicMs(), turnOf, complaints: 0 };
    this.#life = life;
    logger.info({ pid: process.pid, isClean }, 'started the replica');
    this.#wake = () => {
      void process.stop(stopPatienceMs).then((isWilling) => {
        if (!isWilling) logger.warn({ pid: process.pid }, 'the replica did not stop in time and was ended');
      });
    };
    const alarm = this.#setAlarm();
    if (this.#isStopping()) this.#wake();
    const how = await process.ended;
    alarm();
    this.#wake = () => {};
    this.#life = undefined;
    if (monotonicMs() - life.startedAtMs >= limits.restartSteadyAfterMs) this.#failures = 0;
    return how;
  }

  /** Wakes when the clock says that the replica is due. Out: stops it. */
  #setAlarm(): () => void {
    if (this.#clock === undefined) return () => {};
    const clock = this.#clock;
    let timer = setTimer(0, () => look());
    const look = (): void => {
      const remainingMs = clock.remainingMs(monotonicMs());
      if (remainingMs > 0) {
        // Timers of more than some weeks are none.
        timer = setTimer(Math.min(remainingMs, alarmMsMax), look);
        return;
      }
      this.#options.logger.warn('no recovery turn came in time: the replica is made clean by the clock of its keeper');
      this.#end('clock');
    };
    return () => timer.cancel();
  }

  #end(wish: Wish): void {
    if (this.#wish === undefined) {
      this.#wish = wish;
      this.#wake();
    }
  }

  /** Before it is started again: at once when the keeper ended it, else longer with each failure in a row. */
  async #rest(how: string): Promise<void> {
    if (this.#wish !== undefined) return;
    const { restartDelayMsMin, restartDelayMsMax } = limits;
    const delayMs = Math.min(restartDelayMsMax, restartDelayMsMin * 2 ** Math.min(this.#failures, 16));
    this.#failures += 1;
    this.#options.logger.warn({ how, delayMs }, 'the replica ended; it is started again');
    await new Promise<void>((resolve) => {
      const timer = setTimer(delayMs, resolve);
      this.#wake = () => {
        timer.cancel();
        resolve();
      };
    });
    this.#wake = () => {};
  }

  #hear(life: Life, raw: unknown): void {
    const message = readReplicaToKeeper(raw);
    if (message.ok) this.#heed(life, message.value);
    else if (isOurs(raw)) this.#complain(life, message.reason);
    else this.#options.onOther(raw);
  }

  #heed(life: Life, message: ReplicaToKeeper): void {
    switch (message.kind) {
      case 'sign-successor':
        void this.#desk.answer(message, life.visitor).then(
          (answer) => life.process.send(answer),
          (error: unknown) => this.#fail(error),
        );
        return;
      case 'turn-over':
        this.#endTurn(life, { namedIn: message.epoch });
        return;
      case 'membership':
        void this.#desk.pin(message).catch((error: unknown) => this.#fail(error));
        return;
      case 'turn':
        this.#takeTurn(life, message.epoch);
        return;
      case 'status':
        this.#options.logger.debug({ epoch: message.epoch, phase: message.phase }, 'status of the replica');
        if (life.turnOf !== null && message.epoch > life.turnOf) this.#endTurn(life);
    }
  }

  #takeTurn(life: Life, epoch: number): void {
    if (this.#life !== life || this.#wish !== undefined) return;
    const reason = this.#whyNoTurn(life, epoch);
    if (reason !== undefined) {
      this.#options.logger.debug({ epoch, reason }, 'the replica is not started clean');
      life.process.send({ kind: 'turn-refused', reason });
      return;
    }
    this.#options.logger.info({ epoch }, 'the recovery turn of the replica has come');
    this.#wish = 'turn';
    void this.#options.store.changeRecord({ turnOf: epoch }).then(
      () => this.#wake(),
      (error: unknown) => this.#fail(error),
    );
  }

  /**
   * Where this keeper certifies nothing, the turn of a process that was started clean is over when it names its keys, or is in
   * a later epoch. It is its own word: one that lies is not started clean again when it ends, and need not have ended.
   */
  #endTurn({ turnOf }: Life, named: { readonly namedIn?: number } = {}): void {
    const { store } = this.#options;
    if (this.identityKey !== undefined || turnOf === null || this.#record().turnOf === null) return;
    void store.changeRecord({ turnOf: null, ...named }).catch((error: unknown) => this.#fail(error));
  }

  /**
   * A turn is not taken twice by one process, nor one right after another: a replica must not be started anew for ever. Nor is one
   * that is over: the keys that were named in it may be those of the next membership, and a clean start would remove them.
   */
  #whyNoTurn({ turnOf, startedAtMs }: Life, epoch: number): string | undefined {
    if (turnOf === epoch) return 'this process was started clean for this turn';
    const { certified, namedIn } = this.#record();
    if (namedIn === epoch) return 'keys were named in this turn';
    if (certified?.isClean === true && certified.epoch === epoch + 1) return 'clean keys were certified in this turn';
    const isTooSoon = turnOf !== null && monotonicMs() - startedAtMs < limits.keeperTurnRestMs;
    return isTooSoon ? 'the last clean start was only just now' : undefined;
  }

  #complain(life: Life, reason: string): void {
    life.complaints += 1;
    if (life.complaints > limits.keeperComplaintsMax) return;
    const isLast = life.complaints === limits.keeperComplaintsMax;
    this.#options.logger.warn({ reason, isLast }, 'the replica said something that its keeper does not understand');
  }

  /** The store failed: nothing can be promised any more. */
  #fail(error: unknown): void {
    this.#failed = error;
    this.stop();
  }
}

const alarmMsMax = 3_600_000;
const kinds: ReadonlySet<unknown> = new Set<ReplicaToKeeper['kind']>([
  'sign-successor',
  'membership',
  'turn',
  'turn-over',
]);

/** Meant for the keeper, and malformed; `status` is also what `up` is told, in another form. */
function isOurs(message: unknown): boolean {
  if (typeof message !== 'object' || message === null) return true;
  const { kind } = message as { readonly kind?: unknown };
  return typeof kind !== 'string' || kinds.has(kind);
}

/** Everything that runs as this user will be ended with the replica: it must be nobody else's. */
async function checkIsFree(user: ReplicaUser): Promise<void> {
  const running = await processesOf(user.uid);
  if (running.length === 0) return;
  throw new KeeperError(
    'user-in-use',
    `User ${user.uid} runs other processes (${running.slice(0, 5).join(', ')}).`,
    'A keeper ends everything that runs as the user of its replica. Give each replica a user of its own, or end these processes first.',
  );
}

function pinnedBy({ found }: HomeReport, home: string): PinnedHome {
  if (found === null) throw new Error(`${home} was not looked at`);
  return found;
}

/** The key that certifies; undefined for a replica that recovers by awareness, or whose operator has the key elsewhere. */
async function identityOf(
  genesis: Genesis,
  replicaId: string,
  { store, identityPath, logger }: KeeperOptions,
): Promise<SigningKey | undefined> {
  const entry = genesis.replicas.find((replica) => replica.replicaId === replicaId);
  // Of a replica that joined later the genesis says nothing: then it is the store that says it.
  const isNeeded = entry === undefined ? await store.hasIdentity() : entry.recovery === 'hardware';
  if (!isNeeded && identityPath === undefined) {
    logger.info({ recovery: entry?.recovery }, 'the replica recovers without this keeper: it certifies no keys');
    return undefined;
  }
  const key = await store.identity(identityPath);
  const isAnother = entry?.identityKey !== undefined && entry.identityKey !== key.publicKey.text;
  // What counts is the membership of the epoch, which the signing desk looks at.
  if (isAnother) {
    logger.warn(
      { replicaId, identityKey: key.publicKey.text },
      'the identity key is not that of the replica in the genesis: it is right only if administrators have replaced the replica',
    );
  }
  return key;
}

function clockOf(genesis: Genesis, replicaId: string, atMostMs: number, dueAtMs: number | undefined): RecoveryClock {
  const index = genesis.replicas.findIndex((replica) => replica.replicaId === replicaId);
  const { group, groups } = turnGroup(Math.max(0, index), { n: genesis.replicas.length, k: genesis.k });
  checkAtMost(atMostMs, groups, genesis.epochIntervalMs);
  const options = { atMostMs, group, groups };
  const times = { wallMs: now(), steadyMs: monotonicMs() };
  return new RecoveryClock(options, times, dueAtMs ?? firstDueMs(times.wallMs, options));
}
