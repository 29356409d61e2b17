/**
 * Run manifest: reads all code, and writes what it is.
 */
import { dirname, resolve } from 'node:path';
import { readCodeTree } from '../keeper/code-tree.ts';
import { formatManifest, manifestDigest } from '../keeper/manifest.ts';
import { systemFiles } from '../platform/files.ts';
import { homeErrorOf } from '../storage/home-error.ts';
import { readSeedFile } from '../storage/seed-file.ts';
import { writeNewText } from '../storage/whole-file.ts';
import { codeRoot } from './code-root.ts';
import type { CommandContext } from './command.ts';
import type { ManifestCommandOptions } from './manifest.ts';

export async function runManifest(options: ManifestCommandOptions, { terminal }: CommandContext): Promise<void> {
  const root = resolve(options.root ?? codeRoot());
  const key = options.signWith === undefined ? undefined : await readSeedFile(options.signWith);
  const runtimePath = options.runtime ? process.execPath : undefined;
  const manifest = await readCodeTree({ root, also: options.also ?? [], runtimePath });
  const text = formatManifest(manifest, key);
  const { out } = options;
  if (out !== undefined) await replaceText(resolve(out), text);
  const report = {
    root,
    files: Object.keys(manifest.files).length,
    runtime: manifest.runtime?.version,
    digest: manifestDigest(manifest),
    signedBy: key?.publicKey.text,
  };
  if (terminal.json) terminal.document(out === undefined ? { ...report, manifest: JSON.parse(text) } : report);
  else if (out === undefined) terminal.raw(text);
  else {
    terminal.line(`${report.files} files below ${root}`);
    if (report.runtime !== undefined) terminal.line(`runs on ${report.runtime}`);
    terminal.line(`SHA-256 ${report.digest}`);
    if (report.signedBy !== undefined) terminal.line(`signed by ${report.signedBy}`);
  }
}

/** Whole or not at all. */
async function replaceText(path: string, text: string): Promise<void> {
  try {
    await systemFiles.remove(`${path}.new`);
    await writeNewText(systemFiles, `${path}.new`, text);
    await systemFiles.rename(`${path}.new`, path);
    await systemFiles.fsyncDirectory(dirname(path));
  } catch (error) {
    throw homeErrorOf(error, path, 'writing');
  }
}
