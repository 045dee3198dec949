package wire

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// Scope is the account and region that every resource of one embedded AWS
// belongs to.
type Scope struct {
	Region  string
	Account string
}

// ARN returns the ARN of a regional resource.
func (s Scope) ARN(service, resource string) string {
	return "arn:aws:" + service + ":" + s.Region + ":" + s.Account + ":" + resource
}

// GlobalARN returns the ARN of a resource of a service without regions, such as IAM
// or STS.
func (s Scope) GlobalARN(service, resource string) string {
	return "arn:aws:" + service + "::" + s.Account + ":" + resource
}

// RandomHex returns n random lower-case hexadecimal digits, the form of task ids (32)
// and load balancer ids (16).
func RandomHex(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b)[:n]
}

// RandomDigits returns n random decimal digits that do not begin with zero, the form
// of deployment and service revision ids (19).
func RandomDigits(n int) string {
	var b strings.Builder
	for i := range n {
		lowest := int64(0)
		if i == 0 {
			lowest = 1
		}
		d, _ := rand.Int(rand.Reader, big.NewInt(10-lowest))
		fmt.Fprintf(&b, "%d", d.Int64()+lowest)
	}
	return b.String()
}

// NewUUID returns a random version 4 UUID, the form of request and event ids.
func NewUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ResourceName returns the part of an ARN or path after the last slash, or s if it has
// no slash. AWS accepts short names and ARNs nearly everywhere.
func ResourceName(s string) string {
	return s[strings.LastIndexByte(s, '/')+1:]
}
