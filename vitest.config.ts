import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      'coterie/service': here('./src/execution/service.ts'),
      'coterie/client': here('./src/client/client.ts'),
      'coterie/verify': here('./src/verify/verify.ts'),
      'coterie/services/kv': here('./services/kv/kv.ts'),
    },
  },
  test: {
    include: ['{src,services,simulator,bench,test}/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Of two cores vitest would leave one idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // CommonJS packages are imported as Node imports them.
    deps: { interopDefault: false },
  },
});
