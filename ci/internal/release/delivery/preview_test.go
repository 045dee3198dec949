package delivery_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// fixedClock is a clock whose time stands still.
type fixedClock struct {
	clock.Real
	now time.Time
}

func (c fixedClock) Now() time.Time { return c.now }

// TestSweep removes previews that have expired, or whose request is closed.
func TestSweep(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{TimeScale: 100})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	_, err := p.ECS.CreateCluster(t.Context(), &ecs.CreateClusterInput{ClusterName: aws.String(platform.Cluster)})
	require.NoError(t, err)
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	d := delivery.Delivery{
		Account: delivery.NewAccount(aws.Config{
			Region: platform.DefaultRegion, BaseEndpoint: aws.String(p.Server.Endpoint()), HTTPClient: &http.Client{Transport: transport}, Credentials: credentials.NewStaticCredentialsProvider("any", "any", ""),
		}),
		Environment: platform.Environment{Name: "staging", File: "staging.tfvars.json"}, All: []platform.Service{{Name: "api", Port: 8000}},
		Recorder: report.NewRecorder(time.Now, report.Plain{W: t.Output()}), Clock: fixedClock{now: now},
	}
	for name, at := range map[string]string{"ecs-pr1-api": "2026-12-01T12:00:00Z", "ecs-pr2-api": "2026-12-01T12:00:01Z", "ecs-pr3-api": "tomorrow"} {
		number := name[len("ecs-pr") : len("ecs-pr")+1]
		_, err := p.ELB.CreateTargetGroup(t.Context(), &elb.CreateTargetGroupInput{
			Name: &name, Port: aws.Int32(80), Protocol: elbtypes.ProtocolEnumHttp, VpcId: aws.String("vpc-1"),
			Tags: []elbtypes.Tag{{Key: aws.String(rollout.TagPreview), Value: &number}, {Key: aws.String(rollout.TagExpires), Value: &at}},
		})
		require.NoError(t, err)
	}
	numbers := func(o delivery.SweepOptions) map[int]string {
		removal, err := d.PreviewSweep(t.Context(), o)
		require.NoError(t, err)
		require.Equal(t, outcome.Done, removal.ExitCode)
		require.Equal(t, "staging", removal.Environment)
		found := map[int]string{}
		for _, one := range removal.Previews {
			require.Len(t, one.Removed, 1)
			found[one.Number] = one.Reason
		}
		return found
	}
	list, err := d.Previews(t.Context())
	require.NoError(t, err)
	require.Len(t, list.Previews, 3)
	require.Equal(t, []any{true, false, false, report.Missing}, []any{list.Previews[0].Expired, list.Previews[1].Expired, list.Previews[2].Expired, list.Previews[0].State})

	up := func(o delivery.PreviewOptions) report.Preview {
		o.SHA, d.Services = commitID("1"), d.All
		return d.PreviewUp(t.Context(), o)
	}
	refused := up(delivery.PreviewOptions{Number: 4, Max: 3})
	require.Equal(t, outcome.Refused, refused.ExitCode)
	require.Equal(t, "3 previews exist (#1, #2, #3) and --max is 3: remove one (slipway preview down), or those that have expired (slipway preview sweep)", refused.Error)
	absent := up(delivery.PreviewOptions{Number: 4})
	require.Equal(t, outcome.Usage, absent.ExitCode, absent.Error)
	require.Contains(t, absent.Error, "environment staging has no service api to copy")
	require.Equal(t, outcome.Usage, up(delivery.PreviewOptions{}).ExitCode)
	none, err := d.PreviewDown(t.Context(), 4)
	require.NoError(t, err)
	require.Equal(t, outcome.Done, none.ExitCode)
	_, err = d.PreviewDown(t.Context(), 0)
	require.Equal(t, outcome.Usage, outcome.Of(err))

	require.Equal(t, map[int]string{1: "expired 2026-12-01T12:00:00Z"}, numbers(delivery.SweepOptions{}))
	require.Equal(t, map[int]string{3: "the pull request is closed"}, numbers(delivery.SweepOptions{Open: []int{2}, OpenKnown: true}))
	require.Empty(t, numbers(delivery.SweepOptions{Open: []int{2}, OpenKnown: true}))
	require.Equal(t, map[int]string{2: "the pull request is closed"}, numbers(delivery.SweepOptions{OpenKnown: true}))

	d.Environment.Name = platform.Production
	_, err = d.PreviewSweep(t.Context(), delivery.SweepOptions{})
	require.Equal(t, outcome.Refused, outcome.Of(err))
	_, err = d.PreviewDown(t.Context(), 1)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.Equal(t, outcome.Refused, up(delivery.PreviewOptions{Number: 4}).ExitCode)
}

func TestParseOpen(t *testing.T) {
	got, err := delivery.ParseOpen("12, 15")
	require.NoError(t, err)
	require.Equal(t, []int{12, 15}, got)
	got, err = delivery.ParseOpen("none")
	require.NoError(t, err)
	require.Empty(t, got)
	for _, list := range []string{"", "12,", "#12", "0"} {
		_, err = delivery.ParseOpen(list)
		require.Equal(t, outcome.Usage, outcome.Of(err), list)
	}
}
