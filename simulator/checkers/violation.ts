/**
 * Violation: a promise that was broken, by which checker it was noticed, and with which event.
 */

export interface Violation {
  readonly checker:
    | 'agreement'
    | 'state'
    | 'checkpoint'
    | 'storage'
    | 'epochs'
    | 'windows'
    | 'secrecy'
    | 'execution'
    | 'certification'
    | 'evidence'
    | 'acknowledged'
    | 'linearizability'
    | 'invariant';
  /** One sentence with the replicas, indexes and digests it is about. */
  readonly message: string;
  /** The event of the simulation with which it showed. */
  readonly event: number;
}

export type Report = (checker: Violation['checker'], message: string, event?: number) => void;
