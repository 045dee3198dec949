package awsauth

import "github.com/aws/aws-sdk-go-v2/aws"

// Invalidate drops the credentials that are kept, so that the next call fetches
// new ones.
func (g *guard) Invalidate() {
	if kept, ok := g.CredentialsProvider.(*aws.CredentialsCache); ok {
		kept.Invalidate()
	}
}

// Renew makes the next call with cfg fetch its credentials anew: AWS may call
// them expired before their time has come, when clocks differ or a session was
// ended.
func Renew(cfg aws.Config) {
	if kept, ok := cfg.Credentials.(interface{ Invalidate() }); ok {
		kept.Invalidate()
	}
}
