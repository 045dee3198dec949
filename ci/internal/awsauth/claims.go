package awsauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// ParseClaims decodes the claims of a JSON Web Token without verifying it: the
// token must come directly from its issuer. The error does not contain any of the
// token.
func ParseClaims(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("it is not a JSON Web Token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return errors.New("its claims are not in base64")
	}
	if json.Unmarshal(payload, into) != nil {
		return errors.New("its claims are not in JSON")
	}
	return nil
}
