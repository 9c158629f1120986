/**
 * The other proxies, set up for the same work as Countersign: a client certificate of our CA is required, its subject goes
 * on as a header, every request is logged to a file, connections to the origin are kept, one worker, TLS 1.3, no resumption.
 */
export interface PeerPlace {
  readonly port: number;
  readonly originPort: number;
  /** Folder for logs and everything else that is written. */
  readonly logs: string;
  readonly files: {
    readonly ca: string;
    readonly certificate: string;
    readonly key: string;
    readonly combined: string;
  };
  readonly rootDer: Uint8Array;
}

/** nginx's log is buffered as long as Countersign's records are, which is in its favour: unbuffered is its default. */
export function nginxConfig({ port, originPort, logs, files }: PeerPlace): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `worker_processes 1;
daemon off;
${process.getuid?.() === 0 ? 'user root root;' : ''}
pid ${logs}/nginx.pid;
error_log ${logs}/nginx-error.log warn;
events { worker_connections 8192; }
http {
  ${temporary.map((name) => `${name}_temp_path ${logs}/nginx-${name};`).join(' ')}
  log_format evidence '$time_iso8601 $remote_addr "$ssl_client_s_dn" $ssl_client_serial "$request" $status $body_bytes_sent $request_time $upstream_response_time $request_id';
  access_log ${logs}/nginx-access.log evidence buffer=64k flush=10ms;
  keepalive_timeout 75s;
  keepalive_requests 100000000;
  client_max_body_size 16m;
  upstream origin { server 127.0.0.1:${originPort}; keepalive 256; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port} ssl backlog=1024;
    ssl_certificate ${files.certificate};
    ssl_certificate_key ${files.key};
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_session_cache off;
    ssl_client_certificate ${files.ca};
    ssl_verify_client on;
    ssl_verify_depth 2;
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Client-Identity $ssl_client_s_dn;
    }
  }
}
`;
}

/** The same for bytes of any kind: one line a connection, large buffers. @param module file of nginx's stream module. */
export function nginxStreamConfig({ port, originPort, logs, files }: PeerPlace, module: string): string {
  return `load_module ${module};
worker_processes 1;
daemon off;
${process.getuid?.() === 0 ? 'user root root;' : ''}
pid ${logs}/nginx-stream.pid;
error_log ${logs}/nginx-stream-error.log warn;
events { worker_connections 16384; }
stream {
  log_format evidence '$time_iso8601 $remote_addr "$ssl_client_s_dn" $ssl_client_serial $status $bytes_received $bytes_sent $session_time';
  access_log ${logs}/nginx-stream-access.log evidence buffer=64k flush=10ms;
  server {
    listen 127.0.0.1:${port} ssl backlog=1024;
    ssl_certificate ${files.certificate};
    ssl_certificate_key ${files.key};
    ssl_protocols TLSv1.3;
    ssl_session_tickets off;
    ssl_session_cache off;
    ssl_client_certificate ${files.ca};
    ssl_verify_client on;
    ssl_verify_depth 2;
    proxy_pass 127.0.0.1:${originPort};
    proxy_buffer_size 64k;
    proxy_timeout 1h;
  }
}
`;
}

export function haproxyConfig({ port, originPort, files }: PeerPlace): string {
  return `global
  nbthread 1
  maxconn 8192
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
  tune.ssl.cachesize 0
  tune.ssl.default-dh-param 2048
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  http-reuse always
frontend inbound
  bind 127.0.0.1:${port} backlog 1024 ssl crt ${files.combined} ca-file ${files.ca} verify required
  option forwardfor
  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Request-Id
  http-request set-header X-Client-Identity %[ssl_c_s_dn]
  log-format '%t %ci "%[ssl_c_s_dn]" "%r" %ST %B %Ta %Tr %ID'
  default_backend origin
backend origin
  server origin 127.0.0.1:${originPort}
`;
}

export function caddyConfig({ port, originPort, logs, files, rootDer }: PeerPlace): string {
  const proxy = {
    handler: 'reverse_proxy',
    upstreams: [{ dial: `127.0.0.1:${originPort}` }],
    headers: { request: { set: { 'X-Client-Identity': ['{http.request.tls.client.subject}'] } } },
    transport: { protocol: 'http', keep_alive: { max_idle_conns_per_host: 256 } },
  };
  const server = {
    listen: [`127.0.0.1:${port}`],
    protocols: ['h1'],
    automatic_https: { disable: true },
    logs: { default_logger_name: 'evidence' },
    tls_connection_policies: [
      {
        certificate_selection: { any_tag: ['bench'] },
        protocol_min: 'tls1.3',
        client_authentication: {
          trusted_ca_certs: [Buffer.from(rootDer).toString('base64')],
          mode: 'require_and_verify',
        },
      },
    ],
    routes: [{ handle: [proxy] }],
  };
  const loggers = {
    default: { level: 'ERROR' },
    evidence: {
      writer: { output: 'file', filename: `${logs}/caddy-access.log`, roll: false },
      include: ['http.log.access.evidence'],
    },
  };
  return JSON.stringify({
    admin: { disabled: true, config: { persist: false } },
    logging: { logs: loggers },
    apps: {
      tls: {
        certificates: { load_files: [{ certificate: files.certificate, key: files.key, tags: ['bench'] }] },
        session_tickets: { disabled: true },
      },
      http: { servers: { bench: server } },
    },
  });
}
