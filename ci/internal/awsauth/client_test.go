package awsauth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
)

// TestTruncatedResponses repeats calls whose response ends early, wherever that is.
func TestTruncatedResponses(t *testing.T) {
	t.Parallel()
	const body = `{"clusters": []}`
	whole := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, sent := range map[string]string{
		"no chunk":       "",
		"in a chunk":     whole[:8],
		"no last chunk":  whole[:len(whole)-5],
		"in the trailer": whole[:len(whole)-2],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				text := sent
				if calls.Add(1) > 1 {
					text = whole
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nTransfer-Encoding: chunked\r\n\r\n%s", text)
			}))
			defer server.Close()
			client := ecs.New(ecs.Options{
				Region: "us-east-1", BaseEndpoint: &server.URL, Retryer: awsauth.NewRetryer(), HTTPClient: server.Client(),
				Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("any", "any", "")),
			})
			_, err := client.DescribeClusters(t.Context(), &ecs.DescribeClustersInput{})
			require.NoError(t, err)
			require.EqualValues(t, 2, calls.Load())
		})
	}
}
