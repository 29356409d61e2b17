/**
 * Domain tags: one for each thing that is ever signed or derived, so that a signature made for one purpose is never
 * valid for another. A test lists them and fails on a repetition or a prefix.
 */
const encoder = new TextEncoder();
const tag = (name: string): Uint8Array => encoder.encode(`coterie/v1/${name}\n`);

export const domains = {
  /** A replica signs the digest of a block it authored. */
  block: tag('block'),
  /** A client signs the digest of a request. */
  request: tag('request'),
  /** A client proves to one replica that a link is its own. */
  attach: tag('attach'),
  /** The digest of a genesis, which is the service id. */
  genesis: tag('genesis'),
  /** The digest of each author's block of round 0. */
  genesisBlock: tag('genesis-block'),
  /** The chain of commit digests. */
  commit: tag('commit'),
  /** The digest of a checkpoint. */
  checkpoint: tag('checkpoint'),
  /** The hash of a bucket and an inner node of the state tree. */
  stateBucket: tag('state-bucket'),
  stateInner: tag('state-inner'),
  /** The genesis of an epoch whose DAG begins at a checkpoint. */
  restoredEpoch: tag('restored-epoch'),
  /** The genesis of an epoch that follows one that was closed. */
  epoch: tag('epoch'),
  /** The coin before the epoch has a service key. */
  genesisCoin: tag('genesis-coin'),
  /** The service signs an epoch and a period: the coin. */
  coin: tag('coin'),
  /** The service signs the digest of a head of the log. */
  head: tag('head'),
  /** The service signs the digest of a membership statement. */
  membership: tag('membership'),
  /** The digest of the membership body that a closing checkpoint names. */
  membershipBody: tag('membership-body'),
  /** A replica's identity key, or its present signing key, signs its next session keys. */
  successor: tag('successor'),
  /** The next signing key signs the same: who names it has it. */
  possession: tag('possession'),
  /** An administrator signs a proposal. */
  adminAction: tag('admin-action'),
  /** Who publishes the code signs the manifest of it. */
  manifest: tag('manifest'),
  /** What a dealing, its proofs and its ciphertexts are bound to. */
  dealing: tag('dealing'),
  /** A replica's secrets of key generation, derived from its seed for them. */
  dealingSeed: tag('dealing-seed'),
  /** What a sealed key share is bound to. */
  keyShare: tag('key-share'),
  /** The key that authenticates a replica's own log on its own disk. */
  logKey: tag('log-key'),
} as const satisfies Readonly<Record<string, Uint8Array>>;
