import type { ServerResponse } from 'node:http';

/** Passes the Link fields of a 103 on (RFC 8297); nothing else of it is the client's. */
export function passEarlyHints(response: ServerResponse, rawHeaders: readonly string[]): void {
  const link = linksOf(rawHeaders);
  if (link.length === 0 || response.headersSent) return;
  try {
    response.writeEarlyHints({ link });
  } catch {
    // A Link that Node will not write is a hint that is not given.
  }
}

function linksOf(rawHeaders: readonly string[]): string[] {
  const links: string[] = [];
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i]!.toLowerCase() === 'link') links.push(rawHeaders[i + 1]!);
  }
  return links;
}
