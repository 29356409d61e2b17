/**
 * How called: what the user types to run this program, for the commands that are printed to be copied. In a clone it
 * is `npx coterie`, after a global installation `coterie`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

export interface Call {
  /** argv[1]: the script's path, a link to it when called through one. */
  readonly script: string;
  readonly directory: string;
}

export function programName({ script, directory }: Call): string {
  if (existsSync(join(directory, 'node_modules', '.bin', 'coterie')) || isOurPackage(directory)) return 'npx coterie';
  if (/[\\/](_npx|node_modules[\\/]\.bin)[\\/]/.test(script)) return 'npx coterie';
  if (basename(script) === 'coterie') return 'coterie';
  const fromHere = relative(directory, script);
  return `node ${fromHere.startsWith('..') ? script : fromHere}`;
}

/** A path below the working directory as it would be typed there, any other one whole. */
export function shownPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith('..') ? path : fromHere;
}

/** npx runs a package's own program in the package's own directory. */
function isOurPackage(directory: string): boolean {
  try {
    const parsed: unknown = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    return (parsed as { readonly name?: unknown } | null)?.name === 'coterie';
  } catch {
    return false;
  }
}
