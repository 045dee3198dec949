package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRun has no system that keeps them: that is what the package's own test is
// about.
func TestRun(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":        {nil, 2, "usage: check URL [VERSION]"},
		"too much":       {[]string{"http://localhost", "v7", "x"}, 2, "usage: check URL [VERSION]"},
		"no scheme":      {[]string{"localhost:8000"}, 2, `check: "localhost:8000" is no address of a system: write it as http://localhost`},
		"another scheme": {[]string{"ftp://localhost"}, 2, `"ftp://localhost" is no address`},
		"a path":         {[]string{"http://localhost/api"}, 2, `"http://localhost/api" is no address`},
		"no URL":         {[]string{"http://bad host"}, 2, `"http://bad host" is no address`},
		"broken":         {[]string{page.URL + "/", "v7"}, 1, "broken: the instance says who it is: GET /api/ answers 404"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			require.Equal(t, tt.code, run(t.Context(), tt.args, &stdout, &stderr))
			require.Empty(t, stdout.String())
			require.Contains(t, stderr.String(), tt.want)
		})
	}
}
