/** A replica that finds out that its log was set back signs neither blocks nor heads nor coins from then on. */
import { expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { encodeBlock } from '../wire/block.ts';
import { encodePeerMessage } from '../wire/peer-message.ts';
import { Machines } from './testing/machines.ts';

it('a replica that meets a block of its own which its log does not have keeps its key share to itself', () => {
  const machines = new Machines();
  machines.generateKey();
  const [machine] = machines.all;
  expect(machine?.status.certification.isSigning).toBe(true);
  const parents = [0, 1, 2, 3].map((author) => ({ round: 899, author, digest: sha256(Uint8Array.of(author)) }));
  const content = { epoch: 0, round: 900, author: 0, timestamp: 0, parents, requests: [], duties: [] };
  const { bytes: block } = encodeBlock(content, () => new Uint8Array(64));
  machines.give(0, { kind: 'peer-frame', from: 1, frame: encodePeerMessage({ kind: 'block', block }) });
  machines.turn();
  expect(machine?.status.observer).toBe(true);
  expect(machine?.status.certification.isSigning).toBe(false);
  expect(machine?.hasKeyShare).toBe(false);
  // It follows all the same, and others are as they were.
  expect(machine?.serviceKey).toBe(machines.all[1]?.serviceKey);
  expect(machines.all[1]?.status.certification.isSigning).toBe(true);
});
