import { AggregatorRegistry, type Registry } from 'prom-client';

/** One metric with all its series, as a registry gives and takes it; plain data that can cross to another process. */
export type MetricData = Awaited<ReturnType<Registry['getMetricsAsJSON']>>[number];

/** Adds up what several processes counted; gauges by their own rule (sum unless the metric says otherwise). */
export function mergeMetrics(parts: readonly (readonly MetricData[])[]): {
  text(): Promise<{ readonly contentType: string; readonly text: string }>;
  data(): Promise<MetricData[]>;
} {
  const registry = AggregatorRegistry.aggregate(parts.map((part) => [...part]));
  return {
    text: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
    data: () => registry.getMetricsAsJSON(),
  };
}

/** Of a process that is gone its counts stay true; what it measured at a moment does not. */
export const onlyCounts = (part: readonly MetricData[]): MetricData[] =>
  part.filter(({ type }) => String(type) === 'counter' || String(type) === 'histogram');
