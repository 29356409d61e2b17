/** What `coterie demo mobile-adversary` shows, from the command line to its exit code. */
import { expect, it } from 'vitest';
import { runDemoMobileAdversary } from './run-demo.ts';

it('shows the adversary losing, and winning where a defence is off', async () => {
  const documents: unknown[] = [];
  const exitCodes: number[] = [];
  const terminal = { json: true, isInteractive: false, document: (document: unknown) => documents.push(document) };
  const context = { terminal, setExitCode: (code: number) => exitCodes.push(code) };
  await runDemoMobileAdversary({ seed: 8 }, context as unknown as Parameters<typeof runDemoMobileAdversary>[1]);
  expect(exitCodes).toEqual([]);
  expect(documents).toHaveLength(1);
  const { asSaid, parts } = documents[0] as {
    asSaid: boolean;
    parts: {
      scenario: string;
      adversaryWon: boolean;
      everHeld: number;
      how: string | null;
      held: { places: number[] }[];
    }[];
  };
  expect(asSaid).toBe(true);
  expect(parts.map(({ adversaryWon }) => adversaryWon)).toEqual([false, true, true]);
  expect(parts.map(({ everHeld }) => everHeld)).toEqual([4, 4, 4]);
  expect(parts[1]?.how).toContain('signs as the service');
  expect(parts[2]?.how).toContain('signs as the service');
  expect(parts[2]?.how).toContain('a lie');
  // It was in another one in each epoch.
  const places = parts[0]?.held.slice(0, 4).map(({ places }) => places);
  expect(places).toEqual([[0], [1], [2], [3]]);
}, 180_000);
