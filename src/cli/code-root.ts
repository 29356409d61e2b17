/**
 * Code root: the directory below which lies all the code that this program runs.
 */
import { realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** `dist/src/cli/main.js`, which a child is started with. */
export function programPath(): string {
  return realpathSync(fileURLToPath(new URL('./main.js', import.meta.url)));
}

/** The directory of the package; where it was installed into a `node_modules`, the directory that this is in. */
export function codeRoot(): string {
  const ownDirectory = dirname(dirname(dirname(dirname(programPath()))));
  const parent = dirname(ownDirectory);
  return basename(parent) === 'node_modules' ? dirname(parent) : ownDirectory;
}
