# An external decision (docs/external-decisions.md): opa run --server --addr 127.0.0.1:8181 config/countersign.rego
package countersign

default decision := {"allow": false, "reason": "no rule of the engine allows it"}

# Reading is for everybody whom the policy of the proxy lets in.
decision := {"allow": true, "ttl": "30s"} if {
	input.version == 1
	input.request.method in {"GET", "HEAD"}
}

# Writing is for the tenant that the path names.
decision := {"allow": true} if {
	input.version == 1
	not input.request.method in {"GET", "HEAD"}
	input.request.segments[1] == input.request.headers["x-tenant"]
}
