/**
 * Manifest: what the code of a replica is: each file with its SHA-256, and the program that runs it.
 *
 * In: JSON that may be signed, and a directory. Out: the list, or the first thing that differs, by name.
 * Safety: a file too many differs as much as one that is missing: whatever lies where code is looked for may be loaded.
 * Trust: whoever may write the manifest, or signs it, decides what runs. The keeper checks before every start; between the
 * check and the start nobody may be able to write, which holds where the code belongs to another user than the replica's.
 */
import { z } from 'zod';
import { importPublicKey, type SigningKey, sign, verify } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { domains } from '../wire/domain.ts';
import { limits } from '../wire/limits.ts';
import { KeeperError } from './keeper-error.ts';

export const manifestVersion = 1;

/** The program that runs the code, such as node. */
export interface Runtime {
  readonly version: string;
  readonly digest: string;
}

export interface Manifest {
  readonly version: typeof manifestVersion;
  /** Null: not looked at. */
  readonly runtime: Runtime | null;
  /**
   * By path: relative to the code with "/" in it, or absolute for what lies elsewhere. The SHA-256 of a file as hex, or
   * `-> target` for a link.
   */
  readonly files: Readonly<Record<string, string>>;
}

export interface ManifestSignature {
  /** Ed25519, 64 hex characters. */
  readonly key: string;
  readonly signature: string;
}

const digestForm = z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex characters');
const manifestForm = z.strictObject({
  version: z.literal(manifestVersion),
  runtime: z.strictObject({ version: z.string().max(64), digest: digestForm }).nullable(),
  files: z.record(z.string().min(1).max(4096), z.string().regex(/^(?:[0-9a-f]{64}|-> .{1,4096})$/s)),
  signature: z.strictObject({ key: digestForm, signature: z.string().regex(/^[0-9a-f]{128}$/) }).optional(),
});

/** The same bytes for the same manifest, whatever order its files were found in. */
function canonical({ runtime, files }: Manifest): string {
  const sorted = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const ordered = runtime === null ? null : { version: runtime.version, digest: runtime.digest };
  return JSON.stringify({ version: manifestVersion, runtime: ordered, files: Object.fromEntries(sorted) }, null, 1);
}

function preimageOf(manifest: Manifest): Uint8Array {
  return Buffer.concat([domains.manifest, Buffer.from(canonical(manifest), 'utf8')]);
}

/** SHA-256 of what it says, signed or not: what people compare. */
export function manifestDigest(manifest: Manifest): string {
  return sha256(preimageOf(manifest));
}

export function formatManifest(manifest: Manifest, key?: SigningKey): string {
  const text = canonical(manifest);
  if (key === undefined) return `${text}\n`;
  const signature: ManifestSignature = {
    key: key.publicKey.text,
    signature: Buffer.from(sign(key, preimageOf(manifest))).toString('hex'),
  };
  return `${JSON.stringify({ ...(JSON.parse(text) as object), signature }, null, 1)}\n`;
}

/**
 * Reads a manifest. With `signedBy`, 64 hex characters, it must carry that key's signature; without, whoever could write it
 * is trusted. `path` is for the error.
 */
export function parseManifest(path: string, text: string, signedBy: string | undefined): Manifest {
  let json: unknown;
  try {
    json = text.length > limits.manifestSizeBytesMax ? undefined : JSON.parse(text);
  } catch {
    json = undefined;
  }
  const parsed = manifestForm.safeParse(json);
  if (!parsed.success) {
    throw new KeeperError('manifest-malformed', `${path} is no manifest.`, 'Make one with "coterie manifest".');
  }
  const { signature, ...manifest } = parsed.data;
  if (signedBy !== undefined) checkSignature(path, manifest, signature, signedBy);
  return manifest;
}

function checkSignature(
  path: string,
  manifest: Manifest,
  signature: ManifestSignature | undefined,
  signedBy: string,
): void {
  const key = importPublicKey(Buffer.from(signedBy, 'hex'));
  const isSigned =
    key !== undefined &&
    signature?.key === signedBy &&
    verify(key, preimageOf(manifest), Buffer.from(signature.signature, 'hex'));
  if (isSigned) return;
  throw new KeeperError(
    'manifest-unsigned',
    `${path} is not signed by ${signedBy}.`,
    'Get the manifest from who publishes the code, or sign it with "coterie manifest --sign-with".',
  );
}

export type Difference =
  | { readonly kind: 'changed' | 'missing' | 'unlisted'; readonly path: string }
  | { readonly kind: 'runtime'; readonly found: string; readonly wanted: string };

/** The first difference in the order of paths; undefined when there is none. */
export function firstDifference(wanted: Manifest, found: Manifest): Difference | undefined {
  const { runtime } = wanted;
  if (runtime !== null && runtime.digest !== found.runtime?.digest) {
    return { kind: 'runtime', found: found.runtime?.version ?? 'none', wanted: runtime.version };
  }
  const paths = [...new Set([...Object.keys(wanted.files), ...Object.keys(found.files)])].sort();
  for (const path of paths) {
    const [is, should] = [own(found.files, path), own(wanted.files, path)];
    if (is === should) continue;
    return { kind: should === undefined ? 'unlisted' : is === undefined ? 'missing' : 'changed', path };
  }
  return undefined;
}

/** A path may have any name, `constructor` as well. */
function own(files: Readonly<Record<string, string>>, path: string): string | undefined {
  return Object.hasOwn(files, path) ? files[path] : undefined;
}

export function differenceError(difference: Difference, root: string): KeeperError {
  return new KeeperError(
    'code-changed',
    `The code in ${root} is not what the manifest says: ${sentenceOf(difference)}.`,
    'The replica is not started. Find out who changed it; install the code again. After an intended change make the manifest again with "coterie manifest".',
  );
}

function sentenceOf(difference: Difference): string {
  switch (difference.kind) {
    case 'changed':
      return `${difference.path} is changed`;
    case 'missing':
      return `${difference.path} is missing`;
    case 'unlisted':
      return `${difference.path} is not in the manifest`;
    case 'runtime':
      return `it runs on another program than ${difference.wanted} (this one is ${difference.found})`;
  }
}
