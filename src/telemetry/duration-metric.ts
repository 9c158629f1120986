import type { Metric, Registry } from 'prom-client';

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** The durations of one series. Seconds. */
export class Durations {
  /** By bucket, each for itself; the last is what is above all bounds. */
  readonly #counts: number[];
  readonly #bounds: readonly number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = [...bounds.map(() => 0), 0];
  }

  observe(seconds: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    this.#counts[bucket]!++;
    this.#sum += seconds;
  }

  samples(name: string, labels: Labels): Sample[] {
    const metricName = `${name}_bucket`;
    let count = 0;
    const buckets = this.#counts.map((own, i) => {
      count += own;
      return { metricName, labels: { le: this.#bounds[i] ?? '+Inf', ...labels }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
}

/** A histogram in plain numbers: prom-client's own hashes labels and makes two closures at every observation. */
export class DurationMetric {
  readonly type = 'histogram';
  /** Over several workers. */
  readonly aggregator = 'sum';
  readonly #series = new Map<string, { readonly labels: Labels; readonly durations: Durations }>();

  constructor(
    readonly name: string,
    readonly help: string,
    readonly labelNames: readonly string[],
    readonly bounds: readonly number[],
  ) {}

  /** The series with these labels: to be kept and told directly. */
  of(labels: Labels): Durations {
    const key = JSON.stringify(Object.values(labels));
    let series = this.#series.get(key);
    if (series === undefined) {
      series = { labels, durations: new Durations(this.bounds) };
      this.#series.set(key, series);
    }
    return series.durations;
  }

  /** What a registry asks at a scrape. */
  async get(): Promise<Pick<DurationMetric, 'name' | 'help' | 'type' | 'aggregator'> & { values: Sample[] }> {
    const { name, help, type, aggregator } = this;
    const values = [...this.#series.values()].flatMap((one) => one.durations.samples(name, one.labels));
    return { name, help, type, aggregator, values };
  }

  /** A registry needs a name and `get` of what it shows; its types know the four classes of prom-client alone. */
  register(registry: Registry): void {
    registry.registerMetric(this as unknown as Metric);
  }
}
