package calls

import "context"

type bodyKey struct{}

// withBody keeps a request's body, which cannot be read again after the request is
// sent.
func withBody(ctx context.Context, body []byte) context.Context {
	return context.WithValue(ctx, bodyKey{}, body)
}

func bodyOf(ctx context.Context) []byte {
	body, _ := ctx.Value(bodyKey{}).([]byte)
	return body
}
