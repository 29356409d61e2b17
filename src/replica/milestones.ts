/**
 * Milestones: what happens once or seldom in the life of a replica, told to those who must hear of it: its operator, its home, its
 * keeper.
 *
 * In: the machine after each step. Out: lines of the log; the service key into the home, for a replica that has lost everything else to check
 * the others' word by; a membership that the service has signed to the keeper, which then pins the key.
 */
import type { Logger } from 'pino';
import type { Home } from '../storage/home.ts';
import type { Counters } from './counters.ts';
import type { KeeperPort } from './keeper-port.ts';
import type { ReplicaMachine } from './machine.ts';

export interface MilestonesOptions {
  readonly logger: Logger;
  readonly counters: Counters;
  readonly keeper: KeeperPort | undefined;
}

export class Milestones {
  readonly #options: MilestonesOptions;
  #keptServiceKey: Promise<void> | undefined;
  #hasShownMembership = false;

  constructor(options: MilestonesOptions) {
    this.#options = options;
  }

  look(
    { serviceKey, divergence, certifiedMembership }: ReplicaMachine,
    home: { readonly keepServiceKey: Home['keepServiceKey'] },
  ): void {
    const { logger, counters, keeper } = this.#options;
    if (serviceKey !== undefined && this.#keptServiceKey === undefined) {
      logger.info({ serviceKey }, 'the service key is there');
      this.#keptServiceKey = home.keepServiceKey(serviceKey).catch((error: unknown) => {
        logger.error({ err: error }, 'the service key could not be written down');
      });
    }
    if (certifiedMembership !== undefined && !this.#hasShownMembership) {
      this.#hasShownMembership = true;
      const { encoded: statement, signature } = certifiedMembership;
      // The keeper looks for the key in the home.
      void this.#keptServiceKey?.then(() => keeper?.showMembership({ statement, signature }));
    }
    if (divergence === undefined) return;
    counters.count('diverged');
    const { own, digest, certified } = divergence;
    const what = 'this replica has diverged from what is certified: it goes back to that';
    logger.error({ own, certified: certified?.head ?? digest }, what);
  }
}
