/**
 * Run replica: one replica in this process, until it is told to stop or cannot go on.
 *
 * Alone it stops on SIGTERM and Ctrl-C. Started by `up` it also stops when the channel to `up` closes, however `up`
 * ended, and leaves Ctrl-C, which a terminal sends to both, to `up`.
 */
import { type DestinationStream, destination, type Logger, pino } from 'pino';
import { type RunningReplica, startReplica } from '../replica/replica.ts';
import { type CliError, exitCodes, toCliError } from './cli-error.ts';
import type { CommandContext } from './command.ts';
import { serviceOfHome } from './home-service.ts';
import type { ReplicaOptions } from './replica.ts';
import { retentionOf } from './retention.ts';
import { type FromReplica, isStop, reportOf } from './supervision-message.ts';

/** How often `up` is told while somebody waits for the service key, and of how many times one is enough afterwards. */
const statusIntervalMs = 200;
const steadyTicks = 5;
/** A stop that takes longer than this has gone wrong; the log makes an abrupt end safe. */
const stopPatienceMs = 9_000;

export async function runReplica(options: ReplicaOptions, { terminal }: CommandContext): Promise<void> {
  const sink: DestinationStream & NodeJS.EventEmitter = destination({ fd: 2, sync: true });
  // Whoever read the log is gone; that is no reason to stop.
  sink.on('error', () => {});
  const logger = pino({ level: options.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime }, sink);
  process.prependListener('uncaughtException', (error) => logger.fatal({ err: error }, 'a mistake in coterie'));
  const stop = new StopRequest(logger);
  try {
    const service = await serviceOfHome(options.home);
    const replica = await startReplica({
      home: options.home,
      service,
      logger,
      ...retentionOf(options),
      isClean: options.clean === true,
      onReplay: (progress) => logger.info(progress, 'replaying the log'),
    });
    stop.attach(replica);
    const timer = reportStatus(replica);
    const status = replica.status();
    if (terminal.json && status !== undefined) terminal.document(status);
    const reason = await replica.ended;
    clearInterval(timer);
    if (reason !== undefined) throw reason;
    if (replica.hasLeft) await tell({ kind: 'left' });
  } catch (error) {
    await tell({ kind: 'failed', failure: failureOf(error) });
    throw error;
  } finally {
    stop.end();
    if (process.connected) process.disconnect();
  }
}

/** Somebody wants the replica to stop: before or after it is there. */
class StopRequest {
  readonly #logger: Logger;
  #replica: RunningReplica | undefined;
  #isWanted = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
    process.on('SIGTERM', () => this.#want('SIGTERM'));
    process.on('SIGINT', () => {
      if (!process.connected) this.#want('SIGINT');
    });
    if (process.connected) {
      process.on('message', (message) => {
        if (isStop(message)) this.#want('asked by up');
      });
      process.on('disconnect', () => this.#want('up is gone'));
    }
  }

  attach(replica: RunningReplica): void {
    this.#replica = replica;
    if (this.#isWanted) void replica.stop();
  }

  /** There is nothing left to stop. */
  end(): void {
    this.#isWanted = true;
    clearTimeout(this.#timer);
  }

  #want(reason: string): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#logger.info({ reason }, 'stopping');
    this.#timer = setTimeout(() => {
      this.#logger.error('the replica did not stop in time; the process ends without it');
      process.exit(exitCodes.environment);
    }, stopPatienceMs);
    if (this.#replica !== undefined) void this.#replica.stop();
  }
}

/** Tells `up` that the replica is ready and how it is; nothing when it was not started by `up`. */
function reportStatus(replica: RunningReplica): NodeJS.Timeout | undefined {
  if (!process.connected) return undefined;
  let isOnItsWay = false;
  let isReady = false;
  let hasKey = false;
  let ticks = 0;
  const report = (): void => {
    ticks += 1;
    // When `up` is frozen, statuses must not pile up here.
    if (isOnItsWay || (hasKey && ticks % steadyTicks !== 0)) return;
    const status = replica.status();
    // It waits for the others to take it in.
    if (status === undefined) return;
    isOnItsWay = true;
    const told = reportOf(status);
    hasKey = told.key?.serviceKey !== undefined;
    void tell({ kind: isReady ? 'status' : 'ready', status: told }).then(() => {
      isOnItsWay = false;
    });
    isReady = true;
  };
  report();
  return setInterval(report, statusIntervalMs);
}

/** Sends to `up`; resolves when it is sent or cannot be. */
function tell(message: FromReplica): Promise<void> {
  return new Promise((resolve) => {
    if (process.send === undefined || !process.connected) resolve();
    else process.send(message, undefined, {}, () => resolve());
  });
}

function failureOf(error: unknown): { readonly code: string; readonly message: string; readonly hint?: string } {
  const { code, message, hint }: CliError = toCliError(error);
  return hint === undefined ? { code, message } : { code, message, hint };
}
