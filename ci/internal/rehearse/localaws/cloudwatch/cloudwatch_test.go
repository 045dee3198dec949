package cloudwatch_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	cw "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/cloudwatch"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/elb"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const group = "targetgroup/web/0123456789abcdef"

// start is the first minute of the figures, in time that passes ten times as fast.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return start.Add(time.Duration(n) * 6 * time.Second) }

// serve serves the figures of one target group, and returns the endpoint.
func serve(t *testing.T) string {
	t.Helper()
	scope := wire.Scope{Region: "us-east-1", Account: "000000000000"}
	var latencies []time.Duration
	for n := range 10 {
		latencies = append(latencies, time.Duration(10-n)*100*time.Millisecond)
	}
	metrics := cloudwatch.New(cloudwatch.Config{Scope: scope, Clock: clock.NewScaled(10), Figures: func(arn string) []elb.MinuteFigures {
		require.Equal(t, scope.ARN("elasticloadbalancing", group), arn)
		return []elb.MinuteFigures{
			{Start: minute(0), Requests: 10, Errors5xx: 2, Latencies: latencies},
			{Start: minute(1), Requests: 4, ConnectionErrors: 1, Latencies: latencies[:3]},
			{Start: minute(3), Requests: 1, Latencies: latencies[9:]},
		}
	}})
	server := httptest.NewServer(&wire.Router{Services: []wire.Service{metrics.Service()}})
	t.Cleanup(server.Close)
	return server.URL
}

func query(metric, stat string, period int32) types.MetricDataQuery {
	return types.MetricDataQuery{Id: aws.String("q"), MetricStat: &types.MetricStat{
		Period: &period, Stat: &stat, Metric: &types.Metric{
			Namespace: aws.String("AWS/ApplicationELB"), MetricName: &metric, Dimensions: []types.Dimension{
				{Name: aws.String("TargetGroup"), Value: aws.String(group)}, {Name: aws.String("LoadBalancer"), Value: aws.String("app/lb/0")},
			},
		},
	}}
}

func TestGetMetricData(t *testing.T) {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := cw.New(cw.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(serve(t)), HTTPClient: &http.Client{Transport: transport},
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	})
	balancerOnly := query("RequestCount", "Sum", 60)
	balancerOnly.MetricStat.Metric.Dimensions = balancerOnly.MetricStat.Metric.Dimensions[1:]
	for name, tt := range map[string]struct {
		query      types.MetricDataQuery
		start, end time.Time // by default the first four minutes
		minutes    []int
		values     []float64
		err        string
	}{
		"requests":               {query: query("RequestCount", "Sum", 60), minutes: []int{0, 1, 3}, values: []float64{10, 4, 1}},
		"of two minutes":         {query: query("RequestCount", "Sum", 120), minutes: []int{0, 2}, values: []float64{14, 1}},
		"errors":                 {query: query("HTTPCode_Target_5XX_Count", "Sum", 60), minutes: []int{0}, values: []float64{2}},
		"cut connections":        {query: query("TargetConnectionErrorCount", "SampleCount", 60), minutes: []int{1}, values: []float64{1}},
		"percentile":             {query: query("TargetResponseTime", "p90", 60), minutes: []int{0, 1, 3}, values: []float64{0.9, 1, 0.1}},
		"longest":                {query: query("TargetResponseTime", "Maximum", 60), minutes: []int{0, 1, 3}, values: []float64{1, 1, 0.1}},
		"shortest":               {query: query("TargetResponseTime", "Minimum", 240), minutes: []int{0}, values: []float64{0.1}},
		"average":                {query: query("RequestCount", "Average", 240), minutes: []int{0}, values: []float64{1}},
		"the end is excluded":    {query: query("RequestCount", "Sum", 60), end: minute(3), minutes: []int{0, 1}, values: []float64{10, 4}},
		"whole minutes":          {query: query("RequestCount", "Sum", 60), start: minute(1).Add(time.Second), minutes: []int{1, 3}, values: []float64{4, 1}},
		"unknown metric":         {query: query("HealthyHostCount", "Sum", 60)},
		"of the load balancer":   {query: balancerOnly},
		"the period is a minute": {query: query("RequestCount", "Sum", 10), err: "ValidationError: Query q: the period must be a multiple of 60"},
		"unknown statistic":      {query: query("RequestCount", "pNaN", 60), err: "The value 'pNaN' for parameter Stat is not supported"},
		"expression":             {query: types.MetricDataQuery{Id: aws.String("q"), Expression: aws.String("1+1")}, err: "not expressions"},
		"times":                  {query: query("RequestCount", "Sum", 60), start: minute(4), end: minute(4), err: "must be less than"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.start.IsZero() {
				tt.start = minute(0)
			}
			if tt.end.IsZero() {
				tt.end = minute(4)
			}
			out, err := client.GetMetricData(t.Context(), &cw.GetMetricDataInput{
				StartTime: &tt.start, EndTime: &tt.end, MetricDataQueries: []types.MetricDataQuery{tt.query}, ScanBy: types.ScanByTimestampAscending,
			})
			if tt.err != "" {
				var apiError smithy.APIError
				require.ErrorAs(t, err, &apiError)
				require.Contains(t, apiError.ErrorCode()+": "+apiError.ErrorMessage(), tt.err)
				return
			}
			require.NoError(t, err)
			require.Len(t, out.MetricDataResults, 1)
			var minutes []int
			for _, at := range out.MetricDataResults[0].Timestamps {
				minutes = append(minutes, int(at.Sub(start)/(6*time.Second)))
			}
			require.Equal(t, tt.minutes, minutes)
			require.InDeltaSlice(t, tt.values, out.MetricDataResults[0].Values, 1e-9)
			require.Equal(t, types.StatusCodeComplete, out.MetricDataResults[0].StatusCode)
		})
	}
	_, err := client.GetMetricData(t.Context(), &cw.GetMetricDataInput{StartTime: &start, EndTime: new(minute(1)), MetricDataQueries: []types.MetricDataQuery{}})
	require.ErrorContains(t, err, "must have 1 to 500 members")
}

// TestOtherProtocols calls with the protocols of the AWS CLI (AWS Query) and of SDKs that
// speak AWS JSON.
func TestOtherProtocols(t *testing.T) {
	url := serve(t)
	send := func(contentType, target, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("X-Amz-Target", target)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var answer bytes.Buffer
		_, err = answer.ReadFrom(resp.Body)
		require.NoError(t, err)
		return answer.String()
	}
	require.Contains(t, send("application/x-amz-json-1.0", "GraniteServiceVersion20100801.GetMetricData", `{"StartTime":1772366400,"EndTime":1772366406,"MetricDataQueries":[
		{"Id":"q","MetricStat":{"Period":60,"Stat":"Sum","Metric":{"Namespace":"AWS/ApplicationELB","MetricName":"RequestCount","Dimensions":[
		{"Name":"TargetGroup","Value":"`+group+`"},{"Name":"LoadBalancer","Value":"app/lb/0"}]}}}]}`), `"Timestamps":[1772366400],"Values":[10]`)
	require.Contains(t, send("application/x-www-form-urlencoded", "", "Action=GetMetricData&Version=2010-08-01&StartTime=2026-03-01T12:00:00Z&EndTime=2026-03-01T12:00:06Z"+
		"&MetricDataQueries.member.1.Id=q&MetricDataQueries.member.1.MetricStat.Period=60&MetricDataQueries.member.1.MetricStat.Stat=Sum"+
		"&MetricDataQueries.member.1.MetricStat.Metric.Namespace=AWS/ApplicationELB&MetricDataQueries.member.1.MetricStat.Metric.MetricName=RequestCount"+
		"&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.1.Name=TargetGroup&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.1.Value="+group+
		"&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.2.Name=LoadBalancer&MetricDataQueries.member.1.MetricStat.Metric.Dimensions.member.2.Value=app/lb/0"), "<Values><member>10</member></Values>")
}

// TestBoto3 calls with boto3, which speaks Smithy RPC v2, too, and checks the response by
// AWS's model.
func TestBoto3(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("needs python3 with boto3:", err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "python3", "-c", `
import boto3, sys
client = boto3.client("cloudwatch", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="AKIATEST", aws_secret_access_key="secret")
def get(period):
    return client.get_metric_data(StartTime=1772366400, EndTime=1772366424, ScanBy="TimestampAscending", MetricDataQueries=[{"Id": "q", "MetricStat": {"Period": period, "Stat": "p90", "Metric": {
        "Namespace": "AWS/ApplicationELB", "MetricName": "TargetResponseTime", "Dimensions": [
            {"Name": "TargetGroup", "Value": sys.argv[2]}, {"Name": "LoadBalancer", "Value": "app/lb/0"}]}}}])
r = get(60)["MetricDataResults"][0]
print([float(v) for v in r["Values"]], [int(t.timestamp()) - 1772366400 for t in r["Timestamps"]])
try:
    get(7)
except client.exceptions.ClientError as e:
    print(e.response["Error"]["Code"], e.response["Error"]["Message"])
`, serve(t), group)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	require.Equal(t, "[0.9, 1.0, 0.1] [0, 6, 18]\nValidationError Query q: the period must be a multiple of 60\n", string(out))
}
