/**
 * Slot budget: how many array slots the records of one message may cost.
 *
 * Engines keep a property named by a whole number in an array as long as that number, for numbers up to a few thousand:
 * a record of 14 bytes with the single key "1023" takes 12 KiB in V8, so one request of 1 MiB would take 900 MiB in
 * every replica at once. Each record therefore pays for its highest such key, and a message has so much to spend.
 * Both the encoder and the decoder keep the account, as the bound decides what is a value.
 */
import { limits } from './limits.ts';

/** Whole numbers below 10,000 as engines recognise them: no sign, no leading zero. Larger keys are kept sparsely. */
const slotPattern = /^(?:0|[1-9][0-9]{0,3})$/;

export class SlotBudget {
  /** Slots that may still be spent; below zero when more were. */
  left: number = limits.valueSlotsMax;

  /** Pays for one more key of a record that has `slots` so far; returns how many it has now. */
  pay(key: string, slots: number): number {
    const first = key.charCodeAt(0);
    if (!(first >= 0x30 && first <= 0x39) || !slotPattern.test(key)) return slots;
    const needed = Math.max(slots, Number(key) + 1);
    this.left -= needed - slots;
    return needed;
  }
}
