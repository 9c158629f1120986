/** RFC 1918 and RFC 6598: where pods and private machines have their addresses. */
const PRIVATE = /^(10|192\.168|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./;

/**
 * What counts as one place. Of IPv6 a /64: one host has many addresses in it (RFC 8981). Of private IPv4 so many bits: the pods
 * of one node, which SPIRE gives the same SVID. Any other IPv4 address is a place by itself.
 * @param address as the socket tells it; undefined is given back for none (a unix socket)
 */
export function networkOf(address: string, privatePrefix: number): string | undefined {
  if (address === '') return undefined;
  if (address.includes(':')) return `${firstGroups(address)}::/64`;
  if (!PRIVATE.test(address)) return address;
  const bits = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - privatePrefix);
  return `${Math.floor(bits / size) * size}/${privatePrefix}`;
}

export const isIpv6 = (network: string): boolean => network.includes(':');

/** The first four groups; `::` stands for as many zeros as are missing. */
function firstGroups(address: string): string {
  const [left = '', right] = (address.split('%')[0] ?? '').split('::');
  const before = left === '' ? [] : left.split(':');
  const after = right === undefined || right === '' ? [] : right.split(':');
  const length = (after.at(-1) ?? '').includes('.') ? after.length + 1 : after.length;
  const zeros = right === undefined ? 0 : Math.max(0, 8 - before.length - length);
  return [...before, ...Array.from({ length: zeros }, () => '0'), ...after].slice(0, 4).join(':');
}
