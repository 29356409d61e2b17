/**
 * Faults: what befalls the cluster in the safety phase, planned event by event from the scenario's rates.
 *
 * Any number of correct replicas may be down or cut off at once: that may stop the cluster and must never split it.
 */
import type { Cluster } from './cluster.ts';
import type { Prng } from './prng.ts';
import type { FaultRates } from './scenarios/scenario.ts';
import type { World } from './world.ts';

/** A dead replica is started again after at most this time, and at the heal at the latest. */
const downMsMax = 1_200;
const partitionMsMax = 1_500;
/** A replica that dies in the middle of its effects does so before this many more of them. */
const effectsUntilDeathMax = 40;

export function planFaults(options: {
  readonly world: World;
  readonly prng: Prng;
  readonly cluster: Cluster;
  readonly untilMs: number;
}): void {
  const { world, prng, cluster, untilMs } = options;
  const { faults, clockErrorMsMax, isolated, lostLogs, lostStates, rottenStates } = cluster.scenario;
  const correct = [...cluster.sound].filter((place) => !cluster.replicaAt(place).isFuture);

  const downThenUp = (index: number): void => {
    world.after(prng.timeMs(1, downMsMax), '', () => {
      if (world.nowMs < untilMs) cluster.start(index);
    });
  };

  const befall: Readonly<Record<keyof FaultRates, () => void>> = {
    crash: () => {
      const index = prng.pick(correct);
      if (prng.chance(0.5)) cluster.crash(index);
      else cluster.crashAfterEffects(index, prng.between(1, effectsUntilDeathMax));
      downThenUp(index);
    },
    crashAll: () => {
      for (const index of correct) {
        cluster.crash(index);
        downThenUp(index);
      }
    },
    partition: () => partition(options),
    clockJump: () => {
      const index = prng.pick(correct);
      const byMs = prng.between(-clockErrorMsMax, clockErrorMsMax);
      world.note(`clock of r${index} jumps by ${byMs} ms`);
      cluster.replicas[index]?.clock.jump(byMs);
    },
    vanish: () => prng.pick(cluster.clients).vanish(),
  };

  const unlucky = prng.shuffle(correct);
  for (const index of unlucky.slice(0, lostLogs)) {
    world.after(prng.timeMs(0, untilMs), 'disk lost', () => {
      cluster.loseLog(index);
      downThenUp(index);
    });
  }
  for (const index of prng.shuffle(correct).slice(0, lostStates)) {
    // Not before there is something to lose.
    world.after(prng.timeMs(untilMs / 4, untilMs), 'state lost', () => {
      cluster.loseState(index);
      downThenUp(index);
    });
  }
  for (const index of prng.shuffle(correct).slice(0, rottenStates)) {
    world.after(prng.timeMs(untilMs / 4, untilMs), 'bits flip', () => {
      cluster.rotState(index);
      if (prng.chance(0.5)) return;
      cluster.crash(index);
      downThenUp(index);
    });
  }
  for (const index of unlucky.slice(0, isolated)) {
    world.after(prng.timeMs(0, untilMs / 4), `r${index} isolated`, () => cluster.network.isolate(index));
  }

  for (const kind of Object.keys(befall) as (keyof FaultRates)[]) {
    const perSecond = faults[kind];
    if (perSecond === 0) continue;
    const meanMs = 1_000 / perSecond;
    for (let atMs = prng.timeMs(0, 2 * meanMs); atMs < untilMs; atMs += prng.timeMs(0, 2 * meanMs)) {
      world.after(atMs, kind, befall[kind]);
    }
  }
}

/** Cuts a random group off from the rest for a while: both ways, or so that only one side hears the other. */
function partition({
  world,
  prng,
  cluster,
}: {
  readonly world: World;
  readonly prng: Prng;
  readonly cluster: Cluster;
}): void {
  const n = cluster.replicas.length;
  const group = new Set(prng.shuffle(cluster.replicas.map(({ place }) => place)).slice(0, prng.between(1, n - 1)));
  const isOneWay = prng.chance(0.3);
  const links: (readonly [number, number])[] = [];
  for (let from = 0; from < n; from++) {
    for (let to = 0; to < n; to++) {
      if (group.has(from) && !group.has(to)) links.push([from, to]);
      else if (!isOneWay && !group.has(from) && group.has(to)) links.push([from, to]);
    }
  }
  world.note(`cut off ${[...group].join()}${isOneWay ? ', one way' : ''}`);
  for (const [from, to] of links) cluster.network.cut(from, to);
  world.after(prng.timeMs(20, partitionMsMax), 'mended', () => {
    for (const [from, to] of links) cluster.network.mend(from, to);
  });
}
