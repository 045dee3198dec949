package awsauth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// ParseClaims reads the claims of a JSON web token into a value. The token is not
// verified: whoever acts on them must have it from its issuer. The error says
// nothing of what is in it.
func ParseClaims(token string, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("it is no JSON web token")
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
