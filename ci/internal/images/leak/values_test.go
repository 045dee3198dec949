package leak_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
)

func TestValues(t *testing.T) {
	const token, netrc = `s3cr&t "token" 42`, "machine example.com login me password abcdefgh\n# end\n"
	values := leak.Values{"TOKEN": token, "NETRC": netrc, "EMPTY": ""}
	tests := map[string]struct{ text, name string }{
		"nothing":             {"a layer", ""},
		"empty":               {"", ""},
		"a part":              {token[:10], ""},
		"the value":           {"x" + token + "y", "TOKEN"},
		"in JSON":             {`{"t": "s3cr\u0026t \"token\" 42"}`, "TOKEN"},
		"in a URL":            {"https://x/?t=s3cr%26t+%22token%22+42", "TOKEN"},
		"in base64":           {base64.StdEncoding.EncodeToString([]byte(token)), "TOKEN"},
		"in base64 with more": {base64.StdEncoding.EncodeToString([]byte(token + "\n")), "TOKEN"},
		"quoted":              {`t = "s3cr&t \"token\" 42"`, "TOKEN"},
		"without its newline": {strings.TrimSpace(netrc), "NETRC"},
		"one line of it":      {"password: machine example.com login me password abcdefgh", "NETRC"},
		"a short line of it":  {"# end", ""},
		"across two reads":    {strings.Repeat("x", 1<<20-5) + token, "TOKEN"},
		"far behind":          {strings.Repeat("x", 3<<20) + token, "TOKEN"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found, err := values.Find(strings.NewReader(tt.text))
			require.NoError(t, err)
			require.Equal(t, tt.name, found)
			redacted := values.Redact(tt.text)
			require.Equal(t, tt.name != "", redacted != tt.text)
			if tt.name != "" {
				require.Contains(t, redacted, leak.Redacted)
			}
		})
	}
	_, err := values.Find(iotest.ErrReader(errors.New("no disk")))
	require.EqualError(t, err, "no disk")
}
