/**
 * Flawed service: the service of a correct replica that goes wrong once, as a bit that flips in its memory would have it.
 */
import { kv } from '../services/kv/kv.ts';
import type { AnyService } from '../src/execution/service-definition.ts';

/** `flips`: asked at each write whether it is this one. */
export function flawedService(flips: () => boolean): AnyService {
  const { put } = kv.operations;
  return {
    ...kv,
    operations: {
      ...kv.operations,
      put: {
        ...put,
        apply(context: Parameters<typeof put.apply>[0], input: Parameters<typeof put.apply>[1]) {
          if (!flips()) return put.apply(context, input);
          put.apply(context, { ...input, value: 'what nobody wrote' });
          return 'not what a write returns';
        },
      },
    },
  };
}
