/**
 * Scripted epochs: lets a scripted cluster go on to another epoch, with new link keys and other replicas, and says so by
 * HTTP as the service would: with a membership under the service key.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { CertifiedMembershipDocument } from '../../verify/document.ts';
import type { ScriptedCluster, ScriptedReplica } from './scripted-cluster.ts';

export interface NextEpoch {
  /** Who gets a new link key; by default everybody who stays. */
  readonly renewed?: readonly ScriptedReplica[];
  readonly leave?: readonly ScriptedReplica[];
  readonly join?: readonly ScriptedReplica[];
  readonly f?: number;
}

export class ScriptedEpochs {
  readonly #cluster: ScriptedCluster;
  readonly #server: Server;
  epoch = 0;
  /** What is said by HTTP. */
  document: CertifiedMembershipDocument;
  /** Questions by HTTP. */
  questions = 0;

  private constructor(cluster: ScriptedCluster) {
    this.#cluster = cluster;
    this.document = cluster.certifier!.membership(cluster.genesis);
    this.#server = createServer((_, response) => {
      this.questions += 1;
      response.end(JSON.stringify(this.document));
    });
  }

  static async start(cluster: ScriptedCluster): Promise<ScriptedEpochs> {
    const epochs = new ScriptedEpochs(cluster);
    await new Promise<void>((resolve) => epochs.#server.listen(0, '127.0.0.1', resolve));
    return epochs;
  }

  /** Where the membership is had, as `host:port`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next epoch begins; links to who got another key, or left, end. Returns its membership, which is not said yet. */
  async change({ renewed, leave = [], join = [], f }: NextEpoch = {}): Promise<CertifiedMembershipDocument> {
    const { replicas, certifier, genesis, serviceId } = this.#cluster;
    const stay = replicas.filter((replica) => !leave.includes(replica));
    await Promise.all([...(renewed ?? stay).map((each) => each.renew()), ...leave.map((each) => each.stop())]);
    replicas.splice(0, replicas.length, ...stay, ...join);
    for (const [index, replica] of replicas.entries()) replica.index = index;
    this.epoch += 1;
    certifier!.epoch = this.epoch;
    const since = { epoch: this.epoch, timestamp: genesis.created + this.epoch };
    return certifier!.membership(genesis, {
      epoch: this.epoch,
      epochGenesis: serviceId,
      sharingEpoch: this.epoch,
      f: f ?? genesis.f,
      replicas: replicas.map(({ described }) => ({ ...described, keysSince: since, cleanSince: since })),
    });
  }

  /** The same, said at once. */
  async advance(next: NextEpoch = {}): Promise<void> {
    this.document = await this.change(next);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
