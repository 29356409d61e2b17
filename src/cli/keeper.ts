/**
 * `coterie keeper`: starts a replica, supervises it, and makes it clean again and again.
 */
import { type Command, Option } from 'commander';
import { addHelp, addJsonOption, addLogLevelOption, type CommandContext } from './command.ts';
import { parseDuration } from './duration.ts';
import { addRetentionOptions, type RetentionOptions } from './retention.ts';

export interface KeeperCommandOptions extends RetentionOptions {
  readonly store: string;
  readonly home: string;
  readonly user?: string;
  readonly identity?: string;
  readonly serviceKey?: string;
  /** A file, or false. */
  readonly manifest?: string | false;
  readonly manifestKey?: string;
  readonly also?: readonly string[];
  readonly atMost?: number;
  readonly stopPatience: number;
  readonly logLevel: string;
}

const collect = (path: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), path];

/** Further code, for the commands that list it. */
export function addAlsoOption(command: Command): Command {
  return command.option(
    '--also <path>',
    'further code that the replica loads, such as the module of its service; repeatable',
    collect,
  );
}

export function defineKeeper(program: Command, context: CommandContext): void {
  const command = program
    .command('keeper')
    .description('Start one replica from verified code, keep it running, and make it clean on its recovery turn.')
    .requiredOption('--store <dir>', 'the directory of the keeper, which only its own user may enter')
    .requiredOption('--home <dir>', 'the home of the replica')
    .option('--user <user>', 'run the replica as this user, who is for it alone: name, uid or uid:gid (needs root)')
    .option('--identity <file>', 'the identity key (default: identity.seed in the store)')
    .option('--service-key <key>', 'pin this service key, 192 hex characters, in place of the first that is seen')
    .option(
      '--manifest <file>',
      'what the code must be, as "coterie manifest" lists it (default: manifest.json in the store)',
    )
    .option('--no-manifest', 'start whatever code is there')
    .option('--manifest-key <key>', 'the manifest must be signed by this key, 64 hex characters')
    .option(
      '--at-most <duration>',
      'a clean start at the latest after this time, such as 7d, turn or no turn',
      parseDuration,
    )
    .addOption(
      new Option('--stop-patience <duration>', 'a replica that has not stopped by then is ended')
        .argParser(parseDuration)
        .default(10_000, '10s'),
    );
  command.action(async (options: KeeperCommandOptions) => {
    const { runKeeper } = await import('./run-keeper.ts');
    await runKeeper(options, context);
  });
  addHelp(addJsonOption(addLogLevelOption(addRetentionOptions(addAlsoOption(command)))), {
    examples: [
      'coterie keeper --store /var/lib/coterie-keeper --home /var/lib/coterie --user coterie --at-most 7d',
      'coterie keeper --store .coterie/keepers/r0 --home .coterie/replicas/r0 --no-manifest',
    ],
    exitCodes: {
      0: 'stopped cleanly',
      4: 'the replica must not be started: code changed, store or home or user not as they must be',
    },
  });
  // Not for people: what the keeper has done in the home, by a process of the replica's user.
  program
    .command('keeper-home-work', { hidden: true })
    .description('Do what the keeper says on stdin in the home of a replica.')
    .action(async () => {
      const { runKeeperHomeWork } = await import('./run-keeper-home-work.ts');
      await runKeeperHomeWork(context);
    });
}
