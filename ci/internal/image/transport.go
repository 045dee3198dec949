package image

import (
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Deadlines of one exchange with a registry.
const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 30 * time.Second
)

// newTransport carries requests to registries, with a deadline on connecting
// and on the answer's first byte. Bodies are as long as they are: the caller's
// context bounds them.
func newTransport() *http.Transport {
	carrier := remote.DefaultTransport.(*http.Transport).Clone()
	carrier.DialContext = (&net.Dialer{Timeout: dialTimeout}).DialContext
	carrier.ResponseHeaderTimeout = answerTimeout
	return carrier
}
