// A service that believes x-identity-assertion and nothing else.
//
//	JWKS=http://127.0.0.1:9902/.well-known/jwks.json ISSUER=spiffe://example.org/billing AUDIENCE=billing PORT=8080 go run .
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	typ      = "identity-assertion+jwt"
	cooldown = 5 * time.Second
	leeway   = 5 * time.Second
)

// keys are the sidecar's, by URL or by its jwksFile; asked for again when a key is not known, but not all the time.
type keys struct {
	place string
	mu    sync.Mutex
	set   jose.JSONWebKeySet
	asked time.Time
}

func (k *keys) find(kid string) (*jose.JSONWebKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.set.Key(kid)) == 0 && time.Since(k.asked) >= cooldown {
		k.asked = time.Now()
		if err := k.read(); err != nil {
			return nil, err
		}
	}
	if found := k.set.Key(kid); len(found) == 1 {
		return &found[0], nil
	}
	return nil, errors.New("unknown key")
}

func (k *keys) read() error {
	var bytes []byte
	var err error
	if strings.HasPrefix(k.place, "http") {
		client := http.Client{Timeout: 5 * time.Second}
		answer, failure := client.Get(k.place)
		if failure != nil {
			return failure
		}
		defer answer.Body.Close()
		bytes, err = io.ReadAll(io.LimitReader(answer.Body, 256<<10))
	} else {
		bytes, err = os.ReadFile(k.place)
	}
	if err != nil {
		return err
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(bytes, &set); err != nil {
		return err
	}
	k.set = set
	return nil
}

type actor struct {
	Sub string `json:"sub"`
	Act *actor `json:"act"`
}

type who struct {
	Subject string   `json:"subject"`
	Caller  string   `json:"caller"`
	Through []string `json:"through"`
}

// verifyAssertion says who called, and for whom; an error for anything that this sidecar did not sign for this service, now.
func verifyAssertion(text string, keys *keys, issuer, audience string) (*who, error) {
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA, jose.ES256})
	if err != nil {
		return nil, err
	}
	header := token.Headers[0]
	if header.ExtraHeaders[jose.HeaderType] != typ { // nothing else that the same key signs
		return nil, errors.New("typ")
	}
	key, err := keys.find(header.KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != header.Algorithm {
		return nil, errors.New("alg is not that of the key")
	}
	var claims jwt.Claims
	var more struct {
		Act *actor `json:"act"`
	}
	if err := token.Claims(key, &claims, &more); err != nil {
		return nil, err
	}
	if claims.Subject == "" || claims.Expiry == nil || claims.IssuedAt == nil {
		return nil, errors.New("sub, iat and exp are needed")
	}
	expected := jwt.Expected{Issuer: issuer, AnyAudience: jwt.Audience{audience}, Time: time.Now()}
	if err := claims.ValidateWithLeeway(expected, leeway); err != nil {
		return nil, err
	}
	found := &who{Subject: claims.Subject, Caller: claims.Subject, Through: []string{}}
	if more.Act != nil {
		found.Caller = more.Act.Sub
		for act := more.Act.Act; act != nil; act = act.Act { // history, not for decisions (RFC 8693 4.1)
			found.Through = append(found.Through, act.Sub)
		}
	}
	return found, nil
}

func main() {
	issuer, audience := os.Getenv("ISSUER"), os.Getenv("AUDIENCE")
	keys := &keys{place: os.Getenv("JWKS")}
	if keys.place == "" || issuer == "" || audience == "" {
		log.Fatal("JWKS, ISSUER and AUDIENCE are needed")
	}
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		lines := r.Header.Values("x-identity-assertion")
		if len(lines) != 1 {
			http.Error(w, "not signed for this service", http.StatusUnauthorized)
			return
		}
		found, err := verifyAssertion(lines[0], keys, issuer, audience)
		if err != nil {
			log.Printf("refused: %v", err) // never the assertion itself
			http.Error(w, "not signed for this service", http.StatusUnauthorized)
			return
		}
		w.Header().Set("content-type", "application/json")
		_ = json.NewEncoder(w).Encode(found)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
