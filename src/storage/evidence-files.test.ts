import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../wire/limits.ts';
import { EvidenceFiles } from './evidence-files.ts';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'coterie-evidence-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const proofOf = (round: number, epoch = 0) => ({
  replicaId: 'r3',
  epoch,
  round,
  first: new Uint8Array([1, round]),
  second: new Uint8Array([2, round]),
});

describe('proofs of equivocation', () => {
  it('are kept with both blocks, the first for each replica, epoch and round', async () => {
    const evidence = new EvidenceFiles(home);
    await evidence.keep(proofOf(7));
    await evidence.keep({ ...proofOf(7), first: new Uint8Array([9]) });
    const kept: unknown = JSON.parse(await readFile(join(home, 'evidence', 'r3-0-7.json'), 'utf8'));
    expect(kept).toEqual({ version: 1, replicaId: 'r3', epoch: 0, round: 7, first: 'AQc=', second: 'Agc=' });
    await evidence.keep(proofOf(7, 2));
    expect((await readdir(join(home, 'evidence'))).sort()).toEqual(['r3-0-7.json', 'r3-2-7.json']);
  });

  it('fill no disk, across restarts too', async () => {
    const rounds = Array.from({ length: limits.evidenceFilesMax + 5 }, (_, round) => round);
    await new EvidenceFiles(home).keep(proofOf(0));
    const evidence = new EvidenceFiles(home);
    await Promise.all(rounds.map((round) => evidence.keep(proofOf(round))));
    expect(await readdir(join(home, 'evidence'))).toHaveLength(limits.evidenceFilesMax);
  });
});
