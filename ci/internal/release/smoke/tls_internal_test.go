package smoke

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewClient(t *testing.T) {
	tests := map[string]bool{
		"https://ecs-alb-1.us-east-1.elb.amazonaws.com":            true,
		"https://ecs-alb-1.cn-north-1.elb.amazonaws.com.cn:8443":   true,
		"https://shop.example.com":                                 false,
		"https://x.elb.amazonaws.com.example.com":                  false,
		"http://127.0.0.1:80":                                      false,
		"http://\x00":                                              false,
		"https://elb.amazonaws.com.example.com/.elb.amazonaws.com": false,
	}
	for base, isELB := range tests {
		t.Run(base, func(t *testing.T) {
			config := newClient(base, "").Transport.(*http.Transport).TLSClientConfig
			require.Equal(t, isELB, config != nil && config.VerifyConnection != nil)
		})
	}
}

func TestAnyHostname(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	get := func(config *tls.Config) error {
		config.ServerName = "ecs-alb-1.us-east-1.elb.amazonaws.com"
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		response, err := client.Get(server.URL)
		if err == nil {
			response.Body.Close()
		}
		return err
	}
	require.NoError(t, get(anyHostname(roots)), "any host name passes")
	require.ErrorContains(t, get(anyHostname(nil)), "unknown authority", "an unknown authority does not")
	require.ErrorContains(t, get(&tls.Config{RootCAs: roots}), "not ecs-alb-1", "the default verifies the host name")
}
