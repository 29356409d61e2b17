/** The replica's end of the channel: answers are taken as answers, and what is no answer is none. */
import { EventEmitter } from 'node:events';
import { describe, expect, test } from 'vitest';
import { signingKeyFromSeed } from '../crypto/ed25519.ts';
import { sha256 } from '../crypto/hash.ts';
import { readReplicaToKeeper } from '../wire/keeper-message.ts';
import { decodeSuccessorStatement, type SuccessorStatement } from '../wire/successor.ts';
import { type KeeperChannel, KeeperPort } from './keeper-port.ts';

class ScriptedKeeper extends EventEmitter implements KeeperChannel {
  connected = true;
  readonly heard: unknown[] = [];
  send(message: unknown): boolean {
    this.heard.push(message);
    return true;
  }
  leave(): void {
    this.connected = false;
    this.emit('disconnect');
  }
}

const statement: SuccessorStatement = {
  serviceId: sha256(Buffer.from('service')),
  replicaId: 'r0',
  epoch: 3,
  serial: 0,
  isClean: false,
  keys: {
    signingKey: signingKeyFromSeed(new Uint8Array(32).fill(1)).publicKey.text,
    linkKeyDigest: sha256(Buffer.from('link')),
    encryptionKey: 'ab'.repeat(48),
  },
};
const membership = { statement: new Uint8Array(200).fill(1), signature: new Uint8Array(48).fill(2) };
const signed = (serial: number) => ({ kind: 'successor-signed', certificate: '0c'.repeat(64), serial, isClean: true });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a replica asks for a certificate', () => {
  test('in the form that keepers read, and takes the serial and the word of the keeper', async () => {
    const keeper = new ScriptedKeeper();
    const asked = new KeeperPort(keeper).signSuccessor(statement, membership);
    await turn();
    const message = readReplicaToKeeper(keeper.heard[0]);
    if (!message.ok || message.value.kind !== 'sign-successor') throw new Error('not understood');
    expect(decodeSuccessorStatement(Buffer.from(message.value.statement, 'hex'))).toEqual({
      ok: true,
      value: statement,
    });
    expect(message.value.membership).toBe(`${'01'.repeat(200)}${'02'.repeat(48)}`);
    for (const noise of [undefined, 'text', { kind: 'stop' }, { ...signed(1), certificate: 'zz' }])
      keeper.emit('message', noise);
    keeper.emit('message', signed(7));
    const { certificate, serial, isClean } = await asked;
    expect({ serial, isClean, certificate: Buffer.from(certificate).toString('hex') }).toEqual({
      serial: 7,
      isClean: true,
      certificate: '0c'.repeat(64),
    });
  });

  test('one after another, each with its own answer', async () => {
    const keeper = new ScriptedKeeper();
    const port = new KeeperPort(keeper);
    const both = [
      port.signSuccessor(statement, membership),
      port.signSuccessor({ ...statement, epoch: 4 }, membership),
    ];
    await turn();
    expect(keeper.heard).toHaveLength(1);
    keeper.emit('message', { kind: 'refused', reason: 'too soon' });
    await expect(both[0]).rejects.toMatchObject({ code: 'keeper-refused', message: 'the keeper refused: too soon' });
    await turn();
    expect(keeper.heard).toHaveLength(2);
    keeper.emit('message', signed(2));
    expect(await both[1]).toMatchObject({ serial: 2 });
  });

  test('and is told when the keeper is gone', async () => {
    const keeper = new ScriptedKeeper();
    const port = new KeeperPort(keeper);
    const asked = port.signSuccessor(statement, membership);
    await turn();
    keeper.leave();
    await expect(asked).rejects.toMatchObject({ code: 'keeper-gone' });
    await expect(port.signSuccessor(statement, membership)).rejects.toMatchObject({ code: 'keeper-gone' });
    await port.myTurn(1);
    expect(keeper.heard).toHaveLength(1);
  });
});

test('a turn that the keeper refuses is not waited for, and its refusal answers nothing else', async () => {
  const keeper = new ScriptedKeeper();
  const port = new KeeperPort(keeper);
  const asked = port.signSuccessor(statement, membership);
  await turn();
  const refused = port.myTurn(2);
  keeper.emit('message', { kind: 'turn-refused', reason: 'it is over' });
  await refused;
  const gone = port.myTurn(3);
  keeper.emit('message', signed(4));
  expect(await asked).toMatchObject({ serial: 4 });
  keeper.leave();
  await gone;
});

test('turn and status are in the form that keepers read; without a keeper there is no port', () => {
  const keeper = new ScriptedKeeper();
  const port = new KeeperPort(keeper);
  void port.myTurn(5);
  port.status({ epoch: 5, phase: 'preparing' });
  expect(keeper.heard.map(readReplicaToKeeper)).toEqual([
    { ok: true, value: { kind: 'turn', epoch: 5 } },
    { ok: true, value: { kind: 'status', epoch: 5, phase: 'preparing' } },
  ]);
  expect(KeeperPort.fromProcess()).toBeUndefined();
});
