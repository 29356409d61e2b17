/**
 * Cluster: what a client has to know of a cluster: which service it is, where its replicas are, by which link keys they
 * are known, and how many of them are believed.
 *
 * In: a genesis, as a value, as JSON, or as the path of a file. Out: the cluster, or an error with the field that is wrong.
 */
import type { Digest } from '../crypto/hash.ts';
import { firstMembership } from '../membership/genesis.ts';
import type { QuorumRule } from '../membership/membership.ts';
import { errorCode, type FileSystem, systemFiles } from '../platform/files.ts';
import type { DialledLink, dialReplica } from '../transport/client-dial.ts';
import { type Genesis, type GenesisAddress, parseGenesis } from '../wire/genesis.ts';
import { limits } from '../wire/limits.ts';
import { CoterieError } from './client-error.ts';

export interface ReplicaAddress {
  readonly replicaId: string;
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the DER SubjectPublicKeyInfo of the replica's link key. */
  readonly keyDigest: Digest;
  /** Where it may be asked for the membership. */
  readonly http: GenesisAddress;
}

/** The replicas of one epoch. */
export interface Cluster {
  readonly serviceId: Digest;
  readonly epoch: number;
  /** What people call it. */
  readonly name: string;
  /** Which service it runs. */
  readonly service: string;
  readonly rule: QuorumRule;
  readonly replicas: readonly ReplicaAddress[];
}

/** How links come about; tests put another network in its place. */
export type Dial = (
  ...parameters: Parameters<typeof dialReplica>
) => Promise<Pick<DialledLink, 'send' | 'close' | 'open'>>;

/** A genesis, its JSON (beginning with a brace), or the path of a file with its JSON. */
export type GenesisSource = Genesis | string;

export async function readCluster(source: GenesisSource, files: FileSystem = systemFiles): Promise<Cluster> {
  if (typeof source !== 'string') return clusterOf(source, 'the genesis');
  const isText = source.trimStart().startsWith('{');
  const what = isText ? 'the genesis' : `the genesis at ${source}`;
  const parsed = parseGenesis(isText ? source : await readFileText(source, files, unreadable));
  if (!parsed.ok) throw invalidGenesis(`${what}: ${parsed.reason}`);
  return clusterOf(parsed.value, what);
}

function clusterOf(genesis: Genesis, what: string): Cluster {
  const membership = firstMembership(genesis);
  if (!membership.ok) throw invalidGenesis(`${what}: ${membership.reason}`);
  const { serviceId, epoch, rule, members } = membership.value;
  const replicas = members.map(({ replicaId, clientAddress, linkKeyDigest, httpAddress }) => {
    return { replicaId, ...clientAddress, keyDigest: linkKeyDigest, http: httpAddress };
  });
  const { name, service } = genesis;
  return { serviceId, epoch, name, service, rule, replicas };
}

/** The text of a file of bounded size; `invalid` makes the error that says why there is none. */
export async function readFileText(
  path: string,
  files: FileSystem,
  invalid: (sentence: string, cause?: unknown) => CoterieError,
): Promise<string> {
  try {
    const file = await files.open(path, 'read');
    try {
      const sizeBytes = await file.sizeBytes();
      if (sizeBytes > limits.homeFileSizeBytesMax) throw invalid(`${path} has ${sizeBytes} bytes, too many`);
      const bytes = Buffer.alloc(sizeBytes);
      const read = await file.pread(bytes, 0);
      return bytes.toString('utf8', 0, read);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof CoterieError) throw error;
    const reason = errorCode(error) === 'ENOENT' ? 'there is no such file' : (errorCode(error) ?? 'it cannot be read');
    throw invalid(`${path}: ${reason}`, error);
  }
}

function unreadable(sentence: string, cause?: unknown): CoterieError {
  return invalidGenesis(`the genesis at ${sentence}`, cause);
}

function invalidGenesis(sentence: string, cause?: unknown): CoterieError {
  return new CoterieError('invalid-genesis', sentence, { outcome: 'not-sent', cause });
}
