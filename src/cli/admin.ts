/**
 * `coterie admin`: what administrators decide about the replicas. Each decision is signed by m of n administrator keys, and
 * carried out when the epoch ends.
 */
import type { Command } from 'commander';
import type { RecoveryMethod } from '../wire/genesis.ts';
import {
  addHelp,
  addJsonOption,
  addTrustOptions,
  type CommandContext,
  type HelpDetails,
  recoveryMethodOf,
  type TrustOptions,
  wholeNumber,
} from './command.ts';

/** What `addKeyOption` adds. */
export interface KeyOptions {
  readonly key?: readonly string[];
}

export interface AdminOptions extends TrustOptions, KeyOptions {}

export interface MakeReplicaOptions {
  readonly cluster?: string;
  readonly serviceKey?: string;
  readonly id: string;
  readonly host: string;
  readonly basePort: number;
  readonly recovery: RecoveryMethod;
  readonly identity?: string;
}

/** Adds `--key`, for commands that sign as an administrator. */
export function addKeyOption(command: Command): Command {
  const collect = (path: string, before: readonly string[] | undefined) => [...(before ?? []), path];
  return command.option(
    '--key <file>',
    "an administrator's key; repeatable (default: the one in administrators/ of the directory, when it is the only one)",
    collect,
  );
}

const decidedCodes = {
  0: 'it is approved, or it waits for the approval of further administrators',
  1: 'it was refused and changed nothing: wrong epoch, unknown key, or it cannot be done',
  3: 'too few replicas answered in time; the signature may or may not have been counted',
} as const;

export function defineAdmin(program: Command, context: CommandContext): void {
  const admin = program
    .command('admin')
    .description('Add, remove and replace replicas, as m of n administrators.')
    .helpCommand(false)
    .addHelpText(
      'after',
      [
        '',
        'A decision is made in three steps:',
        '  1. one administrator proposes it:   coterie admin remove r3',
        '  2. others look and approve:         coterie admin show, then coterie admin approve DIGEST',
        '  3. it is carried out when the epoch ends: by the schedule, or coterie epoch advance',
        'A signature is good for one decision in one epoch of one service. Nothing else can be done with it.',
      ].join('\n'),
    );
  const run = () => import('./run-admin.ts');
  const add = (command: Command, details: HelpDetails): void => {
    addHelp(addJsonOption(addKeyOption(addTrustOptions(command))), {
      ...details,
      exitCodes: { ...decidedCodes, ...details.exitCodes },
    });
  };

  const show = admin
    .command('show')
    .alias('list')
    .description(
      'Show the administrators, what waits for their approval, what is approved for the next epoch, and what will come of it.',
    )
    .action(async (options: TrustOptions) => {
      await (await run()).runAdminShow(options, context);
    });
  addHelp(addJsonOption(addTrustOptions(show)), {
    examples: ['coterie admin show', 'coterie admin show --json'],
    exitCodes: { 3: 'too few replicas answered in time' },
  });

  add(
    admin
      .command('add')
      .description('Propose a new replica.')
      .argument('<replica.json>', 'what it says of itself, as "coterie admin make-replica" writes it')
      .action(async (path: string, options: AdminOptions) => {
        await (await run()).runAdd(path, options, context);
      }),
    { examples: ['coterie admin add r4/joining.json'], exitCodes: {} },
  );
  add(
    admin
      .command('remove')
      .description('Propose that a replica leaves. It goes on until the epoch ends.')
      .argument('<replica>', 'its id')
      .action(async (replicaId: string, options: AdminOptions) => {
        await (await run()).runRemove(replicaId, options, context);
      }),
    { examples: ['coterie admin remove r3'], exitCodes: {} },
  );
  add(
    admin
      .command('replace')
      .description(
        'Propose that one replica takes the place of another: when its keys were stolen, or its machine is lost.',
      )
      .argument('<replica>', 'the id of who leaves')
      .argument('<replica.json>', 'who comes, as for "add"')
      .action(async (replicaId: string, path: string, options: AdminOptions) => {
        await (await run()).runReplace(replicaId, path, options, context);
      }),
    { examples: ['coterie admin replace r3 r7/joining.json'], exitCodes: {} },
  );
  add(
    admin
      .command('rule')
      .description('Propose how many replicas may be faulty, and how many more in recovery.')
      .argument('<f>', 'hostile replicas tolerated', wholeNumber(1, 1000))
      .argument('[k]', 'more in recovery at the same time; n must be 3f + 2k + 1 or more', wholeNumber(0, 1000), 0)
      .action(async (f: number, k: number, options: AdminOptions) => {
        await (await run()).runRule(f, k, options, context);
      }),
    { examples: ['coterie admin rule 2', 'coterie admin rule 1 1'], exitCodes: {} },
  );
  add(
    admin
      .command('approve')
      .description('Approve what another administrator has proposed. Look at it first: "coterie admin show".')
      .argument('<digest>', 'of the proposal; its beginning is enough')
      .action(async (digest: string, options: AdminOptions) => {
        await (await run()).runApprove(digest, options, context);
      }),
    { examples: ['coterie admin approve 4f1a99c0 --key /media/stick/admin-1.seed'], exitCodes: {} },
  );

  const make = admin
    .command('make-replica')
    .description(
      'Make the home of a replica that is to join, with keys that never leave it, and joining.json for "add".',
    )
    .argument('<dir>', 'the home; it must not exist')
    .requiredOption('--id <id>', 'its id: 1 to 32 of a-z, 0-9 and -; never that of a replica that there was')
    .requiredOption(
      '--base-port <port>',
      'it listens on +0 for replicas, +100 for clients, +200 for HTTP',
      wholeNumber(1, 65_335),
    )
    .option('--host <host>', 'address that it listens on', '127.0.0.1')
    .option('--recovery <how>', 'how others know its next keys for its own', recoveryMethodOf, 'awareness')
    .option(
      '--identity <file>',
      'where its identity key is to be put, if it has one (default: with those of "init", in keepers/ or identities/)',
    )
    .option('--cluster <dir>', 'the cluster directory, for its genesis (default: $COTERIE_CLUSTER, else ./.coterie)')
    .option('--service-key <key>', 'the service key, or a file that holds it (default: as in the cluster directory)')
    .action(async (directory: string, options: MakeReplicaOptions) => {
      await (await run()).runMakeReplica(directory, options, context);
    });
  addHelp(addJsonOption(make), {
    examples: [
      'coterie admin make-replica /srv/r4 --id r4 --base-port 7410 --host 10.0.0.5',
      'coterie admin make-replica /srv/r4 --id r4 --base-port 7410 --recovery hardware --identity /keeper/r4/identity.seed',
      'coterie admin add /srv/r4/joining.json',
      'coterie replica --home /srv/r4 & coterie epoch advance --wait',
    ],
    exitCodes: { 4: 'the directory exists already or cannot be written' },
  });
}
