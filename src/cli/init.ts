/**
 * `coterie init`: makes a cluster directory: the genesis, one home for each replica, a default client identity.
 */
import type { Command } from 'commander';
import type { RecoveryMethod } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { addHelp, addJsonOption, type CommandContext, recoveryMethodOf, wholeNumber } from './command.ts';
import { durationBetween } from './duration.ts';

export interface InitOptions {
  readonly replicas: number;
  readonly f?: number;
  readonly k?: number;
  readonly service: string;
  readonly host: string;
  readonly basePort?: number;
  readonly headInterval?: number;
  readonly checkpointInterval?: number;
  readonly epochInterval?: number;
  readonly successorWait?: number;
  readonly recovery?: readonly RecoveryMethod[];
  readonly administrators?: number;
  readonly approvals?: number;
}

export function defineInit(program: Command, context: CommandContext): void {
  const command = program
    .command('init')
    .description('Make a cluster directory: genesis, one home for each replica, a client identity.')
    .argument('[dir]', 'where (default: $COTERIE_CLUSTER, else ./.coterie)')
    .option('--replicas <n>', 'how many replicas', wholeNumber(1, 1000), 4)
    .option('--f <n>', 'how many may be hostile (default: the most that n allows)', wholeNumber(0, 1000))
    .option('--k <n>', 'how many more may be down for recovery (default: 0)', wholeNumber(0, 1000))
    .option('--service <name>', '"kv", or a module that exports a service', 'kv')
    .option('--host <host>', 'address that the replicas listen on; {i} in it is the index of each', '127.0.0.1')
    .option(
      '--base-port <port>',
      'first of three ports for each replica: +0 replicas, +100 clients, +200 HTTP (default: the first that are free)',
      wholeNumber(1, 65_535),
    )
    .option(
      '--head-interval <ms>',
      'least time between two heads that the service signs (default: 10)',
      wholeNumber(1, 60_000),
    )
    .option(
      '--checkpoint-interval <ms>',
      'least time between two checkpoints of the state (default: 10000)',
      wholeNumber(0, 3_600_000),
    )
    .option(
      '--epoch-interval <duration>',
      'time after which an epoch ends by itself, such as 12h; 0: only when that is asked for (default: 0)',
      durationBetween(0, limits.epochIntervalMsMax),
    )
    .option(
      '--successor-wait <duration>',
      'time for which an ending epoch waits for the next keys of its replicas (default: 30s)',
      durationBetween(limits.successorWaitMsMin, limits.successorWaitMsMax),
    )
    .option(
      '--recovery <how>',
      'how others know the next keys of a replica for its own: awareness, hardware or offline; for r0, r1 and so on ' +
        'with commas, the last being that of all others too (default: awareness)',
      recoveryMethodsOf,
    )
    .option(
      '--administrators <n>',
      'keys of administrators to make (default: 1)',
      wholeNumber(0, limits.administratorsMax),
    )
    .option(
      '--approvals <m>',
      'so many administrators together may change the membership (default: more than half)',
      wholeNumber(0, limits.administratorsMax),
    )
    .action(async (directory: string | undefined, options: InitOptions) => {
      const { runInit } = await import('./run-init.ts');
      await runInit(directory, options, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie init',
      'coterie init /srv/ledger --replicas 7 --service ./ledger.js --base-port 8400',
      'coterie init six --replicas 6 --f 1 --k 1',
      'coterie init safe --epoch-interval 1h --recovery hardware --administrators 3 --approvals 2',
      'coterie init mixed --recovery hardware,offline,awareness',
    ],
    exitCodes: { 4: 'the directory exists already or cannot be written' },
  });
}

function recoveryMethodsOf(text: string): readonly RecoveryMethod[] {
  return text.split(',').map((word) => recoveryMethodOf(word.trim()));
}
