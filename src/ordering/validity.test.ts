import { describe, expect, it } from 'vitest';
import { sign } from '../crypto/ed25519.ts';
import { genesisReference } from '../membership/membership.ts';
import { type BlockContent, decodeBlock, encodeBlock, type Reference } from '../wire/block.ts';
import { testKey, testMembership, testRequest } from './testing/test-cluster.ts';
import { blockPreimage, type Validity, Verifier } from './validity.ts';

const membership = testMembership({ n: 4, f: 1 });
const verifier = new Verifier({ membership });
const genesis = (author: number): Reference => genesisReference(membership.epochGenesis, author);
const valid: BlockContent = {
  epoch: 0,
  round: 1,
  author: 2,
  timestamp: 5,
  parents: [genesis(2), genesis(0), genesis(1)],
  requests: [testRequest(membership, 0, 1).bytes],
  duties: [],
};
const blockOf = (content: BlockContent, signer = content.author) =>
  encodeBlock(content, (digest) => sign(testKey(signer), blockPreimage(digest)));
const verdictOn = (content: BlockContent, signer = content.author): Validity =>
  verifier.verifyBlock(blockOf(content, signer));
const atRound2 = (parents: readonly Reference[]): BlockContent => ({ ...valid, round: 2, parents });
const first = (author: number): Reference =>
  blockOf({ ...valid, author, parents: [genesis(author), genesis((author + 1) % 4), genesis((author + 2) % 4)] });

describe('a block is valid', () => {
  it('when it keeps every rule, with its requests decoded', () => {
    const verdict = verdictOn(valid);
    expect(verdict.ok && verdict.block.decodedRequests.map((request) => request.number)).toEqual([1]);
    expect(verdictOn(atRound2([first(2), first(0), first(3)])).ok).toBe(true);
  });

  it('when its author fell behind and cites an older own block, and a slow one an older block of another', () => {
    const own = { ...genesis(2) };
    expect(verdictOn(atRound2([own, first(0), first(1), first(3)])).ok).toBe(true);
    expect(verdictOn(atRound2([first(2), first(0), first(1), genesis(3)])).ok).toBe(true);
  });
});

describe('a block is refused, by name of the rule,', () => {
  it.each<[string, BlockContent, string]>([
    ['of another epoch', { ...valid, epoch: 1 }, 'epoch'],
    ['by a stranger', { ...valid, author: 4 }, 'author not in the membership'],
    ['of round 0', { ...valid, round: 0 }, 'round below 1'],
    ['without parents', { ...valid, parents: [] }, "first parent not the author's own"],
    ['whose first parent is another', { ...valid, parents: [genesis(0), genesis(2), genesis(1)] }, 'first parent'],
    ['with two parents by one author', { ...valid, parents: [...valid.parents, genesis(1)] }, 'two parents'],
    [
      'with a parent by a stranger',
      { ...valid, parents: [...valid.parents, { ...genesis(1), author: 9 }] },
      "a parent's author",
    ],
    ['with a parent of its own round', atRound2([first(2), first(0), first(1), { ...first(3), round: 2 }]), 'no lower'],
    ['with fewer than a quorum of parents', { ...valid, parents: [genesis(2), genesis(0)] }, 'no quorum'],
    ['whose quorum is of an older round', atRound2([genesis(2), genesis(0), genesis(1)]), 'no quorum'],
    [
      'that counts an older parent to the quorum',
      atRound2([first(2), first(0), genesis(1), genesis(3)]),
      'no quorum of parents',
    ],
    [
      'on a genesis block of another service',
      { ...valid, parents: [genesis(2), genesis(0), { ...genesis(1), digest: genesis(0).digest }] },
      'unknown genesis block',
    ],
  ])('%s', (_name, content, rule) => {
    const verdict = verdictOn(content, 2);
    expect(verdict.ok ? 'accepted' : verdict.rule).toContain(rule);
  });

  it('signed by another replica, or for another purpose', () => {
    expect(verdictOn(valid, 1)).toEqual({ ok: false, rule: 'block signature' });
    const wrongDomain = encodeBlock(valid, (digest) => sign(testKey(2), Buffer.from(digest, 'hex')));
    expect(verifier.verifyBlock(wrongDomain)).toEqual({ ok: false, rule: 'block signature' });
  });

  it('with any one bit of it changed', () => {
    const { bytes } = blockOf(valid);
    for (let bit = 0; bit < bytes.length * 8; bit += 7) {
      const changed = Uint8Array.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      const decoded = decodeBlock(changed);
      expect(decoded.ok && verifier.verifyBlock(decoded.value).ok).toBe(false);
    }
  });

  it('with a request that is forged, or made for another service, even after the true one was seen', () => {
    const request = testRequest(membership, 0, 1);
    expect(verifier.verifyRequest(request.bytes).ok).toBe(true);
    const forged = Uint8Array.from(request.bytes);
    forged[forged.length - 1] = (forged[forged.length - 1] as number) ^ 1;
    expect(verifier.verifyRequest(forged)).toEqual({ ok: false, reason: 'signature' });
    expect(verdictOn({ ...valid, requests: [forged] })).toEqual({ ok: false, rule: 'request: signature' });
    const elsewhere = { ...membership, serviceId: genesis(0).digest };
    const foreign = testRequest(elsewhere, 0, 1).bytes;
    expect(verdictOn({ ...valid, requests: [foreign] })).toEqual({ ok: false, rule: 'request: signature' });
  });
});
