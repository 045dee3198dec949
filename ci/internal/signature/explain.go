package signature

import (
	"errors"
	"fmt"
	"strings"
)

// causes says in plain words what sigstore's library means; the first that is
// part of its error fits.
var causes = []struct{ part, means string }{
	{"digest does not match", "it is the signature of another image"},
	{"accepted signatures do not match threshold", "another key signed it, or what it signs was changed"},
	{"not enough verified log entries", "no transparency log that is trusted has it"},
	{"integrated time outside certificate validity", "it was signed when its certificate had expired"},
	{"failed to verify leaf certificate", "its certificate had expired, or is of no authority that is trusted"},
	{"expected key signature, not certificate", "an identity signed it, and a key is trusted"},
	{"entity was not signed with a certificate", "a key signed it, and an identity is trusted"},
	{"expected SAN value", "another identity signed it"},
	{"to match regex", "another identity signed it"},
	{"expected issuer value", "its identity was certified by another issuer"},
	{"payload hash", "what it signs was changed"},
	{"transparency log signature does not match", "its signature was changed"},
	{"signed certificate timestamp", "its certificate is in no certificate log that is trusted"},
}

// explain makes one line of why a bundle is not good, in plain words and in the
// library's own.
func explain(err error) error {
	text := line(err)
	for _, cause := range causes {
		if strings.Contains(text, cause.part) {
			return fmt.Errorf("%s (%s)", cause.means, text)
		}
	}
	return errors.New(text)
}
