import type { Clock } from '../../platform/clock.ts';
import type { FunctionCatalogue } from '../../platform/functions/function-catalogue.ts';
import type { Home } from '../../platform/model/function-reference.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { Activation } from './activation.ts';
import type { SerialQueue } from './serial-queue.ts';

/** What every operation works with. */
export interface ApiContext {
  readonly catalogue: FunctionCatalogue;
  readonly store: ObjectStore;
  readonly settings: ApiSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly activation: Activation;
  /**
   * Reservations of concurrency are checked one after another, since each depends on the sum of all others. The queue is this gateway's:
   * two gateways could together reserve more than the account has, which the scheduler's account limit still holds.
   */
  readonly reservations: SerialQueue;
}

export interface ApiSettings extends Home {
  /** Invocations that may run at once in the account. */
  readonly accountConcurrency: number;
  /** Whether workers are pods, which alone can hold the container of a function's image. */
  readonly runsContainerImages: boolean;
}

/** One operation: takes what was parsed and validated against the model, throws `LambdaApiError`. */
export type Handler<Input, Output extends object> = (input: Input, context: ApiContext) => Promise<Output>;
