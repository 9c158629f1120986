import type { RefusalReason } from '../reasons.js';

/** Why the HTTP parser gave up, in our words. Codes are llhttp's (HPE_*) and Node's. */
export function reasonOfParserError(error: { code?: string; reason?: string }): RefusalReason {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return 'headers_too_large';
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return 'request_timeout';
    case 'HPE_INVALID_VERSION':
      // llhttp says the same code of a line that ends in a bare LF: that version was fine
      return error.reason?.startsWith('Expected') === true ? 'request_malformed' : 'http_version_unsupported';
    case 'HPE_PAUSED_H2_UPGRADE':
      return 'http_version_unsupported';
    case 'HPE_INVALID_CONTENT_LENGTH':
    case 'HPE_UNEXPECTED_CONTENT_LENGTH':
    case 'HPE_INVALID_TRANSFER_ENCODING':
    case 'HPE_INVALID_CHUNK_SIZE':
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return 'framing_ambiguous';
    case 'HPE_INVALID_HEADER_TOKEN':
      return 'header_malformed';
    default:
      return 'request_malformed';
  }
}

/** The transport broke: there is nobody to answer and nothing was asked. */
export function isDeadSocket(error: { code?: string }): boolean {
  const { code } = error;
  return code !== undefined && !code.startsWith('HPE_') && code !== 'ERR_HTTP_REQUEST_TIMEOUT';
}
