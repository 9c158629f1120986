/** The Link fields of a 103 (RFC 8297); nothing else of it is the client's. */
export function linksOf(rawHeaders: readonly string[]): string[] {
  const links: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === 'link') links.push(rawHeaders[i + 1]!);
  }
  return links;
}
