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
	for base, own := range tests {
		t.Run(base, func(t *testing.T) {
			config := newClient(base).Transport.(*http.Transport).TLSClientConfig
			require.Equal(t, own, config != nil && config.VerifyConnection != nil)
		})
	}
}

func TestAnyName(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())

	ask := func(config *tls.Config) error {
		config.ServerName = "ecs-alb-1.us-east-1.elb.amazonaws.com"
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		answer, err := client.Get(server.URL)
		if err == nil {
			answer.Body.Close()
		}
		return err
	}
	require.NoError(t, ask(anyHostname(roots)), "another name is trusted")
	require.ErrorContains(t, ask(anyHostname(nil)), "unknown authority", "another authority is not")
	require.ErrorContains(t, ask(&tls.Config{RootCAs: roots}), "not ecs-alb-1", "the rule that is bent")
}
