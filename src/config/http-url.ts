import { err, ok, type Result } from '../reasons.js';

/** An `http(s)` URL of somebody that is asked or told something. Parsing is the only way in. */
export interface HttpUrl {
  readonly protocol: 'http:' | 'https:';
  /** Lower case; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
  /** Host and port as a Host field has them. */
  readonly authority: string;
  /** Path and query. */
  readonly target: string;
}

const MAX_CHARACTERS = 2048;
const FORM =
  /^(https?):\/\/([^/?#@]+)(\/[A-Za-z0-9\-._~/!$&'()*+,;=:@%]*)(\?[A-Za-z0-9\-._~/!$&'()*+,;=:@%?]*)?$/;

/**
 * @param example what the error shows, such as `http://host:port/PATH`.
 * @param problemOfPath what is wrong with this path, where something is.
 */
export function parseHttpUrl(
  text: string,
  example: string,
  problemOfPath: (path: string) => string | undefined = () => undefined,
): Result<HttpUrl, string> {
  if (text.length > MAX_CHARACTERS) return err(`is longer than ${MAX_CHARACTERS} characters`);
  if (/^https?:\/\/[^/?#]*@/.test(text)) return err('must not hold a user or password');
  const parts = FORM.exec(text);
  if (parts === null) return err(`must be ${example} or the same with https://`);
  const [, scheme = '', authority = '', path = '', query = ''] = parts;
  const problem = problemOfPath(path);
  if (problem !== undefined) return err(problem);
  let url: URL;
  try {
    url = new URL(`${scheme}://${authority}`);
  } catch {
    return err(`"${authority}" is not a host and port`);
  }
  // 0x7f.1 and %6cocalhost are other ways to write a host: one spelling, so that what is reviewed is what is asked.
  if (url.hostname !== authority.replace(/:[0-9]*$/, '').toLowerCase())
    return err(`its host is written in an unusual form; write ${url.hostname}`);
  const port = Number(url.port || (scheme === 'https' ? 443 : 80));
  if (port === 0) return err('port 0 cannot be connected to');
  return ok({
    protocol: scheme === 'https' ? 'https:' : 'http:',
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port,
    authority: `${url.hostname}:${port}`,
    target: path + query,
  });
}
