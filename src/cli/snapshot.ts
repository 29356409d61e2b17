/**
 * `coterie snapshot`: backups that anybody can check: writes a checkpoint to a file, checks such a file, puts it into homes.
 */
import { type Command, Option } from 'commander';
import { addHelp, addJsonOption, type CommandContext, parseSeconds, wholeNumber } from './command.ts';

/** Which home, or homes. */
export interface SnapshotPlace {
  readonly cluster?: string;
  readonly home?: string;
  readonly serviceKey?: string;
}

export interface SnapshotExportOptions extends SnapshotPlace {
  readonly replica?: string;
  readonly out: string;
  readonly withoutOldLeaves?: true;
  readonly timeout: number;
}

export interface SnapshotVerifyOptions {
  readonly serviceKey: string;
}

export interface SnapshotRestoreOptions extends SnapshotPlace {
  readonly rollBack?: true;
  readonly epoch?: number;
}

export function defineSnapshot(program: Command, context: CommandContext): void {
  const snapshot = program
    .command('snapshot')
    .description('Back up a cluster, check a backup, restore from it.')
    .helpCommand(false);
  defineExport(snapshot, context);
  defineSnapshotVerify(snapshot, context);
  defineRestore(snapshot, context);
}

function addPlace(command: Command): Command {
  return command
    .addOption(
      new Option('--cluster <dir>', 'the cluster directory (default: $COTERIE_CLUSTER, else ./.coterie)').conflicts(
        'home',
      ),
    )
    .option('--home <dir>', 'the home of one replica')
    .option('--service-key <key>', 'the service key, or a file that holds it (default: the one that is kept there)');
}

function defineExport(snapshot: Command, context: CommandContext): void {
  const command = addPlace(
    snapshot.command('export').description('Write the newest certified checkpoint to a file; the replicas may run.'),
  )
    .addOption(new Option('--replica <id>', 'whose state (default: who has the newest)').conflicts('home'))
    .requiredOption('--out <file>', 'the file; it is there whole or not at all, and replaces one that is there')
    .option('--without-old-leaves', 'leave out what proves older requests; the file is smaller by up to 32 MiB')
    .option('--timeout <seconds>', 'how long to wait for a certified checkpoint', parseSeconds, 5)
    .action(async (options: SnapshotExportOptions) => {
      const { runSnapshotExport } = await import('./run-snapshot-export.ts');
      await runSnapshotExport(options, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie snapshot export --out backup.snapshot',
      'coterie snapshot export --home /srv/ledger --out /backup/ledger.snapshot',
    ],
    exitCodes: { 0: 'the file is written, and was verified', 3: 'there is no certified checkpoint yet' },
  });
}

function defineSnapshotVerify(snapshot: Command, context: CommandContext): void {
  const command = snapshot
    .command('verify')
    .description('Check a snapshot file with the service key alone, and say what it proves.')
    .argument('<file>', 'the snapshot file')
    .requiredOption('--service-key <key>', 'the public key of the service, 192 hex characters, or a file that holds it')
    .action(async (file: string, options: SnapshotVerifyOptions) => {
      const { runSnapshotVerify } = await import('./run-snapshot-verify.ts');
      await runSnapshotVerify(file, options, context);
    });
  addHelp(addJsonOption(command), {
    examples: ['coterie snapshot verify backup.snapshot --service-key .coterie/service-key'],
    exitCodes: { 0: 'it is proven, all of it', 1: 'it is not proven, and must not be relied on' },
  });
}

function defineRestore(snapshot: Command, context: CommandContext): void {
  const command = addPlace(
    snapshot
      .command('restore')
      .description(
        'Put the state of a snapshot into all homes of a cluster directory, or into one. No replica may run there.',
      )
      .argument('<file>', 'the snapshot file'),
  )
    .option('--roll-back', 'also where that loses what was executed after the snapshot')
    .option(
      '--epoch <number>',
      'the epoch to go on in, when another operator was told a later one',
      wholeNumber(1, 0xffff_ffff),
    )
    .action(async (file: string, options: SnapshotRestoreOptions) => {
      const { runSnapshotRestore } = await import('./run-snapshot-restore.ts');
      await runSnapshotRestore(file, options, context);
    });
  addHelp(addJsonOption(command), {
    examples: [
      'coterie snapshot restore backup.snapshot --cluster .coterie',
      'coterie snapshot restore backup.snapshot --home /srv/ledger --service-key KEY --roll-back',
    ],
    exitCodes: { 1: 'the file is not proven, or a home holds what restoring would lose' },
  });
}
