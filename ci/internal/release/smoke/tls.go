package smoke

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// isELBHostname reports whether a host is named by the DNS name that AWS gave a
// load balancer.
func isELBHostname(host string) bool {
	return strings.HasSuffix(host, ".elb.amazonaws.com") || strings.HasSuffix(host, ".elb.amazonaws.com.cn")
}

// anyHostname returns a TLS configuration that verifies the certificate chain but
// not the host name. Certificates are issued for the domain that points to a load
// balancer, never for the load balancer's own DNS name. A nil roots means the
// system's.
func anyHostname(roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection verifies the chain
		VerifyConnection: func(state tls.ConnectionState) error {
			options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
			for _, certificate := range state.PeerCertificates[1:] {
				options.Intermediates.AddCert(certificate)
			}
			_, err := state.PeerCertificates[0].Verify(options)
			return err
		},
	}
}
