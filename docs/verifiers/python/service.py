"""A service that believes x-identity-assertion and nothing else. Needs PyJWT[crypto].

JWKS=http://127.0.0.1:9902/.well-known/jwks.json ISSUER=spiffe://example.org/billing AUDIENCE=billing PORT=8080 python3 service.py
"""

import json
import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

JWKS, ISSUER, AUDIENCE = (os.environ[name] for name in ("JWKS", "ISSUER", "AUDIENCE"))
TYPE = "identity-assertion+jwt"
COOLDOWN_SECONDS = 5


class Keys:
    """The sidecar's keys, by URL or by its jwksFile; asked for again when a key is not known, but not all the time."""

    def __init__(self, place):
        self.place = place
        self.keys = {}
        self.asked = float("-inf")
        self.lock = threading.Lock()

    def find(self, kid):
        with self.lock:
            if kid not in self.keys and time.monotonic() - self.asked >= COOLDOWN_SECONDS:
                self.asked = time.monotonic()
                self.keys = {key.key_id: key for key in jwt.PyJWKSet.from_json(self.read()).keys}
            return self.keys[kid]

    def read(self):
        if self.place.startswith(("http://", "https://")):
            with urllib.request.urlopen(self.place, timeout=5) as answer:
                return answer.read().decode()
        with open(self.place, encoding="utf-8") as file:
            return file.read()


keys = Keys(JWKS)


def verify_assertion(text):
    """Who called, and for whom. Raises for anything that this sidecar did not sign for this service, now."""
    header = jwt.get_unverified_header(text)
    if header.get("typ") != TYPE:  # nothing else that the same key signs
        raise jwt.InvalidTokenError("typ")
    key = keys.find(header.get("kid"))
    claims = jwt.decode(
        text,
        key.key,
        algorithms=[key.algorithm_name],  # that of the key, never that of the header alone
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway=5,
        options={"require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
    )
    actors = []  # the caller first, then who had acted before it: history, not for decisions (RFC 8693 4.1)
    act = claims.get("act")
    while act is not None:
        actors.append(act["sub"])
        act = act.get("act")
    caller = actors[0] if actors else claims["sub"]
    return {"subject": claims["sub"], "caller": caller, "through": actors[1:]}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            lines = self.headers.get_all("x-identity-assertion") or []
            if len(lines) != 1:
                raise jwt.InvalidTokenError("not one assertion")
            status, body = 200, json.dumps(verify_assertion(lines[0]))
        except Exception as error:  # pylint: disable=broad-except
            print(f"refused: {type(error).__name__}", file=sys.stderr)  # never the assertion itself
            status, body = 401, "not signed for this service\n"
        self.send_response(status)
        self.send_header("content-type", "application/json" if status == 200 else "text/plain")
        self.send_header("content-length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()
