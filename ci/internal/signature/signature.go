// Package signature signs what is said about images, and tells whether somebody
// trusted said it. What is signed is an in-toto statement, in sigstore's bundle:
// the form that cosign, GitHub's attestations and policy controllers read.
package signature

import (
	"strings"
	"time"
)

const (
	// MediaType is that of a bundle.
	// https://docs.sigstore.dev/about/bundle/
	MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// PredicateType is what cosign's plain signatures of images say: nothing but
	// that the signer stands for the image.
	// https://github.com/sigstore/cosign/blob/main/pkg/types/predicate.go
	PredicateType = "https://sigstore.dev/cosign/sign/v1"
)

// payloadType is that of in-toto statements in an envelope.
// https://github.com/in-toto/attestation/blob/main/spec/v1/envelope.md
const payloadType = "application/vnd.in-toto+json"

// Limits of what is asked of sigstore's services.
const (
	callTimeout = 30 * time.Second
	callRetries = 2
	callPause   = 300 * time.Millisecond
	// signLimit bounds one signature with all that is asked for it.
	signLimit = 3 * time.Minute
)

// line makes one line of an error that may have several.
func line(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
