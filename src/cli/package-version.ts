/**
 * Package version: read from the package.json above the compiled program, where an installed package has it too.
 */
import { readFileSync } from 'node:fs';

/** The version, or "unknown" when the package was taken apart. */
export function packageVersion(): string {
  for (const up of ['../../../package.json', '../../package.json']) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), 'utf8'));
      if (typeof parsed !== 'object' || parsed === null) continue;
      const { name, version } = parsed as { readonly name?: unknown; readonly version?: unknown };
      if (name === 'coterie' && typeof version === 'string') return version;
    } catch {
      // Not there: compiled and source files lie at different depths.
    }
  }
  return 'unknown';
}
