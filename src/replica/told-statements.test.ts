/** What is kept for the next life: the newest share and the newest signature of each peer, under the membership alone. */
import { expect, it } from 'vitest';
import { sha256 } from '../crypto/hash.ts';
import { encodePeerMessage, type StatementKind } from '../wire/peer-message.ts';
import { ToldStatements } from './told-statements.ts';

const share = (statement: StatementKind, fill: number): Uint8Array =>
  encodePeerMessage({
    kind: 'signature-share',
    statement,
    commitIndex: 0,
    digest: sha256(Uint8Array.of(1)),
    share: new Uint8Array(48).fill(fill),
  });
const certified = (statement: StatementKind, fill: number): Uint8Array =>
  encodePeerMessage({
    kind: 'certified-statement',
    statement,
    encoded: Uint8Array.of(1, 2, 3),
    signature: new Uint8Array(48).fill(fill),
  });

it('keeps the newest of each kind and peer, and nothing else', () => {
  const told = new ToldStatements();
  told.note(1, share('membership', 1));
  told.note(2, share('membership', 2));
  told.note(1, certified('membership', 3));
  told.note(1, share('membership', 4));
  told.note(3, share('head', 5));
  told.note(3, certified('head', 6));
  told.note(3, encodePeerMessage({ kind: 'catch-up', afterRound: 1 }));
  told.note(3, new Uint8Array());
  const kept = told.all.map(({ from, frame }) => `${from} ${Buffer.from(frame).toString('hex')}`).sort();
  const wanted = [
    [1, share('membership', 4)],
    [1, certified('membership', 3)],
    [2, share('membership', 2)],
  ] as const;
  expect(kept).toEqual(wanted.map(([from, frame]) => `${from} ${Buffer.from(frame).toString('hex')}`).sort());
});
