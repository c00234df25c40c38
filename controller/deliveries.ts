import type { Clock } from '../platform/clock.ts';
import type { Delivery, LogConsumption } from '../platform/invocation-log/invocation-log.ts';
import type { Logger } from '../platform/telemetry/logger.ts';

/** A log that does not take a postponed record is asked again after this long; the record stays unsettled meanwhile. */
const POSTPONE_RETRY_MS = 1_000;

/** What the log has delivered and the controller has not settled, by number. Bounded by the log's `maxInFlight` and by the gateways' bound on waiting callers. */
export class Deliveries {
  private readonly byId = new Map<number, Delivery>();
  private readonly postponing = new Set<Promise<void>>();
  private readonly clock: Clock;
  private readonly logger: Logger;
  private consumption: LogConsumption | undefined;
  /** What came before `consumption`: bounded as the deliveries are. */
  private readonly settledEarly: Delivery[] = [];
  private readonly postponedEarly: ((consumption: LogConsumption) => void)[] = [];
  private nextId = 0;
  private stopped = false;

  constructor(options: { readonly clock: Clock; readonly logger: Logger }) {
    this.clock = options.clock;
    this.logger = options.logger;
  }

  get size(): number {
    return this.byId.size;
  }

  /** The log's side, once it is there: deliveries can come before `consume` has resolved. */
  attach(consumption: LogConsumption): void {
    this.consumption = consumption;
    for (const delivery of this.settledEarly.splice(0)) consumption.settle(delivery);
    for (const postpone of this.postponedEarly.splice(0)) postpone(consumption);
  }

  /** See {@link LogConsumption.undecided}. */
  undecided(): Promise<void> | undefined {
    return this.consumption?.undecided();
  }

  add(delivery: Delivery): number {
    const id = this.nextId++;
    this.byId.set(id, delivery);
    return id;
  }

  get(id: number): Delivery | undefined {
    return this.byId.get(id);
  }

  settle(id: number): void {
    const delivery = this.release(id);
    if (delivery === undefined) return;
    if (this.consumption === undefined) this.settledEarly.push(delivery);
    else this.consumption.settle(delivery);
  }

  postpone(id: number, change: { readonly attempt: number; readonly throttles: number }, notBeforeMs: number): void {
    const delivery = this.release(id);
    if (delivery === undefined) return;
    const start = (consumption: LogConsumption): void => {
      const done = this.postponeUntilTaken(consumption, delivery, change, notBeforeMs).finally(() => this.postponing.delete(done));
      this.postponing.add(done);
    };
    if (this.consumption === undefined) this.postponedEarly.push(start);
    else start(this.consumption);
  }

  /** Forgets a delivery; the log keeps it. */
  release(id: number): Delivery | undefined {
    const delivery = this.byId.get(id);
    this.byId.delete(id);
    return delivery;
  }

  /** Resolves when what is being postponed is in the log; what the log does not take now stays unsettled and is delivered to the next consumer. */
  async stop(): Promise<void> {
    this.stopped = true;
    await Promise.all(this.postponing);
    await this.consumption?.stop();
  }

  private async postponeUntilTaken(consumption: LogConsumption, delivery: Delivery, change: { readonly attempt: number; readonly throttles: number }, notBeforeMs: number): Promise<void> {
    for (;;) {
      try {
        await consumption.postpone(delivery, change, notBeforeMs);
        return;
      } catch (error) {
        this.logger.warn({ err: error, invocation: delivery.head.id }, 'the invocation log does not take a postponed invocation; trying again');
        if (this.stopped) return;
        await new Promise<void>((resolve) => this.clock.at(this.clock.now() + POSTPONE_RETRY_MS, resolve));
      }
    }
  }
}
