import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Logger } from './logger.ts';
import { METRICS, type HistogramName, type LabelsOf, type MetricDefinition, type MetricName, type MetricRole, type ReadMetricName } from './metrics/catalogue.ts';

/** A value with its labels, at one moment. */
export type Sample<Name extends MetricName> = readonly [value: number, labels: LabelsOf<Name>];

/** How often the delay of the event loop is sampled: finer than the delays that matter, coarse enough to cost nothing. */
const EVENT_LOOP_PRECISION_MS = 20;

export interface MetricsOptions {
  readonly role: MetricRole;
  readonly version: string;
  readonly logger: Logger;
}

/**
 * The metrics of one process: those of the catalogue that its role has, and those that every Node process has. Counters and gauges are read where they are kept anyway
 * when somebody asks, so they cost nothing in between; only histograms are written to as things happen.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #logger: Logger;

  constructor({ role, version, logger }: MetricsOptions) {
    this.#logger = logger;
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_PRECISION_MS });
    this.read('sluice_build_info', () => [[1, { role, version }]]);
  }

  /**
   * Registers a counter or gauge that `samples` tells whenever it is asked; a counter's must not fall while the process lives. What cannot be told is absent from that
   * scrape and nothing else suffers from it. Throws where the metric is registered already.
   */
  read<Name extends ReadMetricName>(name: Name, samples: () => Iterable<Sample<Name>> | Promise<Iterable<Sample<Name>>>): void {
    const definition: MetricDefinition = METRICS[name];
    const logger = this.#logger;
    const told = async (): Promise<Iterable<Sample<Name>>> => {
      try {
        return await samples();
      } catch (error) {
        logger.warn({ err: error, metric: name }, 'a metric cannot be read now');
        return [];
      }
    };
    const configuration = { name, help: definition.help, labelNames: Object.keys(definition.labels ?? {}), registers: [this.#registry] };
    if (definition.type === 'counter') {
      new Counter<string>({
        ...configuration,
        async collect() {
          const current = await told();
          clear(this, configuration.labelNames);
          for (const [value, labels] of current) this.inc({ ...labels }, value);
        },
      });
      return;
    }
    new Gauge<string>({
      ...configuration,
      async collect() {
        const current = await told();
        clear(this, configuration.labelNames);
        for (const [value, labels] of current) this.set({ ...labels }, value);
      },
    });
  }

  /** Registers a counter or gauge without labels. */
  value<Name extends ReadMetricName>(name: Name, value: () => number): void {
    this.read(name, () => [[value(), {} as LabelsOf<Name>]]);
  }

  /** Registers a histogram; the result takes one more observation. */
  histogram(name: HistogramName): (value: number) => void {
    const { help, buckets } = METRICS[name];
    const histogram = new Histogram({ name, help, buckets: [...buckets], registers: [this.#registry] });
    return (value) => histogram.observe(value);
  }

  /** All metrics as they are now, in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** What is registered, by name; with the metrics that every process has. */
  get names(): readonly string[] {
    return this.#registry.getMetricsAsArray().map(({ name }) => name);
  }
}

/** Leaves no value, also not the 0 that a reset puts where there are no labels: what cannot be told is absent. */
function clear(metric: Counter | Gauge, labelNames: readonly string[]): void {
  metric.reset();
  if (labelNames.length === 0) metric.remove();
}
