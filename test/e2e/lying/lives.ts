/**
 * Lives of a liar: those of a real replica, whose every word to another replica goes through adversaries first.
 *
 * It shows different replicas different blocks of one round, validly signed with the session key of now; sends garbage; serves wrong parts of
 * the state, and wrong blocks or none to who has missed some; gives signature shares of something else. Besides there is another kind of bad
 * block in each epoch, and another way to spoil the sharing of the service key.
 */
import { clearInterval, setInterval } from 'node:timers';
import {
  type Adversary,
  type AdversaryMaker,
  messageOf,
  othersThan,
} from '../../../simulator/adversaries/adversary.ts';
import { badStateServer } from '../../../simulator/adversaries/bad-state-server.ts';
import { bogusCiter } from '../../../simulator/adversaries/bogus-citer.ts';
import { equivocator } from '../../../simulator/adversaries/equivocator.ts';
import { futureFlooder } from '../../../simulator/adversaries/future-flooder.ts';
import { garbageSender } from '../../../simulator/adversaries/garbage-sender.ts';
import { withholder } from '../../../simulator/adversaries/withholder.ts';
import { Lives as HonestLives, type LivesOptions } from '../../../src/replica/lives.ts';
import type { OpenState } from '../../../src/storage/state-directory.ts';
import { decodePeerMessage } from '../../../src/wire/peer-message.ts';
import { badLibrarian } from './bad-librarian.ts';
import { diceFor, lieSeed } from './dice.ts';
import { spoiltCurve } from './spoilt-curve.ts';

const tickMs = 40;
const besides: readonly AdversaryMaker[] = [withholder, bogusCiter, futureFlooder];

export class Lives extends HonestLives {
  readonly #hear: (from: number, frame: Uint8Array) => void;
  readonly #hush: () => void;

  constructor(options: LivesOptions) {
    const { membership, self, life } = options;
    const { machine, ports } = life;
    const { epoch } = membership;
    const prng = diceFor(epoch);
    const accomplice = { membership, self, prng, sign: machine.sign };
    const besidesNow = besides[(lieSeed + epoch) % besides.length] as AdversaryMaker;
    const litterer = garbageSender(accomplice);
    // Each hears what the one before says.
    const mouths = [equivocator, besidesNow, badLibrarian, badStateServer].map((make) => make(accomplice));
    const all: readonly Adversary[] = [...mouths, litterer];
    const say = (to: number, frame: Uint8Array): void => {
      if (frame.length > 0) ports.send(to, frame);
    };
    const twist = (to: number, frame: Uint8Array): void => {
      let frames = [{ to, frame }];
      for (const mouth of mouths)
        frames = frames.flatMap((each) => [...mouth.outgoing(messageOf(each.frame), each.to)]);
      for (const each of frames) say(each.to, each.frame);
    };
    super({
      ...options,
      life: {
        ...life,
        machine: {
          ...machine,
          // A getter, to be asked by each life anew.
          get nextSecrets() {
            return machine.nextSecrets ?? [];
          },
          curve: spoiltCurve({ options, way: lieSeed + epoch, next: () => this.machine?.epochStatus.state.phase }),
        },
        ports: {
          ...ports,
          send: twist,
          broadcast: (frame) => {
            for (const to of othersThan(self, membership.members.length)) twist(to, frame);
          },
        },
      },
    });
    this.#hear = (from, frame) => {
      const decoded = decodePeerMessage(frame);
      if (!decoded.ok) return;
      for (const each of all) {
        for (const { to, frame: said } of each.incoming?.(decoded.value, from).send ?? []) say(to, said);
      }
    };
    const timer = setInterval(() => {
      for (const { to, frame } of all.flatMap((each) => each.tick?.() ?? [])) say(to, frame);
    }, tickMs);
    this.#hush = () => clearInterval(timer);
  }

  override takeFrame(from: number, frame: Uint8Array): void {
    this.#hear(from, frame);
    super.takeFrame(from, frame);
  }

  override leave(): Promise<OpenState | undefined> {
    this.#hush();
    return super.leave();
  }

  override end(how: { readonly isSudden: boolean }): Promise<void> {
    this.#hush();
    return super.end(how);
  }
}
