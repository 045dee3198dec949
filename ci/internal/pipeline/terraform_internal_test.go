package pipeline

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
)

// TestShifts reads what ECS shifts traffic with: of services in another region than the
// credentials', and one without a load balancer.
func TestShifts(t *testing.T) {
	var asked, signed []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked, signed = append(asked, string(body)), append(signed, r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, _ = io.WriteString(w, map[int]string{
			1: `{"services": [{"serviceName": "ecs-api-service", "loadBalancers": [{"targetGroupArn": "arn:1", "advancedConfiguration": {"alternateTargetGroupArn": "arn:2", "productionListenerRule": "arn:3", "testListenerRule": "arn:4", "roleArn": "arn:5"}}]}]}`,
			2: `{"services": [{"serviceName": "ecs-worker-service"}]}`,
		}[len(asked)])
	}))
	defer server.Close()
	options := awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: server.URL}
	found, err := shifts(t.Context(), options, []string{
		"arn:aws:ecs:eu-west-1:123456789012:service/shop/ecs-api-service", "arn:aws:ecs:eu-west-1:123456789012:service/shop/ecs-worker-service", "an id of something else",
	})
	require.NoError(t, err)
	const api = "ecs-api-service"
	require.Equal(t, map[string]string{"arn:1": api, "arn:2": api, "arn:3": api, "arn:4": api, "arn:5": api}, found)
	require.Len(t, asked, 2)
	require.Contains(t, signed[0], "/eu-west-1/ecs/")
	require.JSONEq(t, `{"cluster": "shop", "services": ["arn:aws:ecs:eu-west-1:123456789012:service/shop/ecs-api-service"]}`, asked[0])

	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type": "AccessDeniedException", "message": "no"}`)
	})
	_, err = shifts(t.Context(), options, []string{"arn:aws:ecs:eu-west-1:123456789012:service/shop/ecs-api-service"})
	require.ErrorContains(t, err, "describing the ECS service ecs-api-service, whose load balancing the plan changes: ")
}
