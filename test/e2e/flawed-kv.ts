/**
 * A key-value service with a bit flipped in its memory, so to say: whoever runs it reads what nobody wrote.
 */

import { kv } from '../../services/kv/kv.ts';
import { defineService } from '../../src/execution/service.ts';

export const service = defineService({
  name: 'kv',
  version: kv.version,
  operations: { ...kv.operations, get: { ...kv.operations.get, apply: () => 'what nobody wrote' } },
});
