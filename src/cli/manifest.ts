/**
 * `coterie manifest`: lists the code of this program, for keepers to compare it with before each start.
 */
import type { Command } from 'commander';
import { addHelp, addJsonOption, type CommandContext } from './command.ts';
import { addAlsoOption } from './keeper.ts';

export interface ManifestCommandOptions {
  readonly out?: string;
  readonly root?: string;
  readonly also?: readonly string[];
  readonly runtime: boolean;
  readonly signWith?: string;
}

export function defineManifest(program: Command, context: CommandContext): void {
  const command = program
    .command('manifest')
    .description('List the code that replicas run, each file with its SHA-256, for keepers to compare it with.')
    .option('--out <file>', 'write it there, in place of an older one (default: to stdout)')
    .option('--root <dir>', 'the directory of the package or of the installation (default: that of this program)')
    .option('--no-runtime', 'leave out the program that runs the code, where replicas run on another build of it')
    .option('--sign-with <file>', 'sign it with the key of this seed file, 64 hex characters');
  command.action(async (options: ManifestCommandOptions) => {
    const { runManifest } = await import('./run-manifest.ts');
    await runManifest(options, context);
  });
  addHelp(addJsonOption(addAlsoOption(command)), {
    examples: [
      'coterie manifest --out /var/lib/coterie-keeper/manifest.json',
      'coterie manifest --no-runtime --sign-with release.seed --out manifest.json',
    ],
    exitCodes: { 0: 'written', 4: 'the code cannot be listed, or the file cannot be written' },
  });
}
