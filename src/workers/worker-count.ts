import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** How many workers `auto` is: one for each whole CPU that the cgroup grants, or that the machine has (cgroup v2 cpu.max, v1 cfs quota). */
export function workersForAuto(root = '/sys/fs/cgroup'): number {
  const quota = quotaOf(root);
  const cpus = availableParallelism();
  return Math.max(1, quota === undefined ? cpus : Math.min(cpus, Math.floor(quota)));
}

/** In CPUs; undefined = no limit. */
function quotaOf(root: string): number | undefined {
  const v2 = words(`${root}/cpu.max`);
  if (v2.length === 2) return ratio(v2[0], v2[1]);
  const [quota] = words(`${root}/cpu/cpu.cfs_quota_us`);
  const [period] = words(`${root}/cpu/cpu.cfs_period_us`);
  return ratio(quota, period);
}

function ratio(quota: string | undefined, period: string | undefined): number | undefined {
  const value = Number(quota) / Number(period);
  return Number.isFinite(value) && value > 0 ? value : undefined;
}

function words(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').trim().split(/\s+/);
  } catch {
    return [];
  }
}
