import type { Clock } from '../../platform/clock.ts';
import type { FunctionCatalogue } from '../../platform/functions/function-catalogue.ts';
import type { Home } from '../../platform/model/function-reference.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { Activation } from './activation.ts';

/** What every operation works with. */
export interface ApiContext {
  readonly catalogue: FunctionCatalogue;
  readonly store: ObjectStore;
  readonly settings: ApiSettings;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly activation: Activation;
}

export interface ApiSettings extends Home {
  /** Invocations that may run at once in the account. */
  readonly accountConcurrency: number;
}

/** One operation: takes what was parsed and validated against the model, throws `LambdaApiError`. */
export type Handler<Input, Output extends object> = (input: Input, context: ApiContext) => Promise<Output>;
