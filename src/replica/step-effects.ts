/**
 * Step effects: what came of the step in hand, gathered while a machine takes it.
 *
 * In: what its parts have to say. Out: `ReplicaEffects`, once; for the next step there is another one of these.
 */
import type { CertificationEffects } from '../certification/effects.ts';
import type { Diagnostic } from '../execution/execution.ts';
import { ReplyBatch } from '../execution/reply-batch.ts';
import type { Commit } from '../ordering/commit.ts';
import type { Evidence, OrderingEffects } from '../ordering/effects.ts';
import type { CertifiedAnswer } from './certified-replies.ts';
import type { StableCheckpoint } from './checkpoint-progress.ts';
import type { CheckpointToWrite } from './checkpoint-writer.ts';
import type { ReplicaEffects } from './effects.ts';

/** What is known only at the end. */
export interface StepEnd extends Pick<ReplicaEffects, 'seal' | 'wantsSuccessor' | 'closed' | 'isUnfinished'> {
  readonly ordering: OrderingEffects;
  readonly certification: CertificationEffects | undefined;
  readonly evidence: readonly Evidence[];
  /** When somebody wants to step again; undefined for who does not. */
  readonly wakeTimesMs: readonly (number | undefined)[];
}

export class StepEffects {
  readonly checkpoints: CheckpointToWrite[] = [];
  stable: StableCheckpoint | undefined;
  readonly serve: ReplicaEffects['serve'][number][] = [];
  readonly refusals: ReplicaEffects['refusals'][number][] = [];
  readonly replies = new ReplyBatch();
  readonly certified: CertifiedAnswer[] = [];
  readonly evidence: Evidence[] = [];
  readonly diagnostics: Diagnostic[] = [];
  readonly commits: Commit[] = [];

  end({ ordering, certification, evidence, wakeTimesMs, ...rest }: StepEnd): ReplicaEffects {
    const times = [ordering.wakeAtMs, certification?.wakeAtMs, ...wakeTimesMs].filter((time) => time !== undefined);
    return {
      persist: ordering.persist,
      checkpoints: this.checkpoints,
      stable: this.stable,
      send: [...ordering.send, ...(certification?.send ?? [])],
      serve: this.serve,
      replies: this.replies.all,
      certified: this.certified,
      refusals: this.refusals,
      evidence: [...this.evidence, ...ordering.evidence, ...evidence, ...(certification?.evidence ?? [])],
      diagnostics: this.diagnostics,
      commits: this.commits,
      ...rest,
      wakeAtMs: times.length === 0 ? undefined : Math.min(...times),
    };
  }
}
