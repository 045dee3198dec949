// Package cloudwatch serves CloudWatch's GetMetricData for the metrics of target groups,
// from the figures of the embedded load balancers.
package cloudwatch

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cw "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/elb"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Config configures [Metrics].
type Config struct {
	Scope wire.Scope
	Clock *clock.Scaled
	// Figures returns the figures of a target group by minutes of Clock, oldest first.
	Figures func(targetGroup string) []elb.MinuteFigures
}

// Metrics serves the metrics.
type Metrics struct{ cfg Config }

// New returns the metrics of the embedded AWS.
func New(cfg Config) *Metrics { return &Metrics{cfg} }

// Service returns the API: by Smithy RPC v2, AWS JSON and AWS Query, as real clients of
// different age call it.
func (m *Metrics) Service() wire.Service {
	return wire.Service{
		Name: "cloudwatch", Target: "GraniteServiceVersion20100801",
		Version: "2010-08-01", Namespace: "http://monitoring.amazonaws.com/doc/2010-08-01/",
		Operations: []wire.Operation{wire.NewOperation("GetMetricData", m.getMetricData)},
	}
}

// maxQueries is how many metrics a call may ask for.
const maxQueries = 500

func (m *Metrics) getMetricData(_ context.Context, in *cw.GetMetricDataInput) (*cw.GetMetricDataOutput, error) {
	switch {
	case in.StartTime == nil || in.EndTime == nil:
		return nil, wire.Errorf("MissingParameter", "The parameters StartTime and EndTime are required")
	case !in.StartTime.Before(*in.EndTime):
		return nil, wire.Errorf("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
	case len(in.MetricDataQueries) == 0 || len(in.MetricDataQueries) > maxQueries:
		return nil, wire.Errorf("ValidationError", "MetricDataQueries must have 1 to %d members", maxQueries)
	}
	out := &cw.GetMetricDataOutput{MetricDataResults: []types.MetricDataResult{}}
	for _, query := range in.MetricDataQueries {
		result, err := m.result(query, *in.StartTime, *in.EndTime)
		if err != nil {
			return nil, err
		}
		if in.ScanBy != types.ScanByTimestampAscending {
			slices.Reverse(result.Timestamps)
			slices.Reverse(result.Values)
		}
		if query.ReturnData == nil || *query.ReturnData {
			out.MetricDataResults = append(out.MetricDataResults, result)
		}
	}
	return out, nil
}

// result returns the data points of one query, the oldest first. A minute takes as long
// as on the scaled clock, and time stamps are real: they are compared with those of ECS.
func (m *Metrics) result(query types.MetricDataQuery, start, end time.Time) (types.MetricDataResult, error) {
	stat := query.MetricStat
	if stat == nil || stat.Metric == nil {
		return types.MetricDataResult{}, wire.Errorf("ValidationError", "Query %s: the embedded AWS serves metrics (MetricStat), not expressions", aws.ToString(query.Id))
	}
	statistic, err := statisticOf(aws.ToString(stat.Stat))
	if err != nil {
		return types.MetricDataResult{}, err
	}
	period := aws.ToInt32(stat.Period)
	if period <= 0 || period%60 != 0 {
		return types.MetricDataResult{}, wire.Errorf("ValidationError", "Query %s: the period must be a multiple of 60", aws.ToString(query.Id))
	}
	result := types.MetricDataResult{
		Id: query.Id, Label: query.Label, StatusCode: types.StatusCodeComplete, Timestamps: []time.Time{}, Values: []float64{},
	}
	if result.Label == nil {
		result.Label = stat.Metric.MetricName
	}
	minute := m.cfg.Clock.Scale(time.Minute)
	length := time.Duration(period/60) * minute
	start = start.Truncate(minute)
	points := map[time.Time][]float64{}
	for _, figures := range m.figures(*stat.Metric) {
		if figures.Start.Before(start) || !figures.Start.Before(end) {
			continue
		}
		at := start.Add(figures.Start.Sub(start) / length * length)
		if values := valuesOf(figures, aws.ToString(stat.Metric.MetricName)); len(values) > 0 {
			if points[at] == nil {
				result.Timestamps = append(result.Timestamps, at)
			}
			points[at] = append(points[at], values...)
		}
	}
	for _, at := range result.Timestamps {
		result.Values = append(result.Values, statistic(points[at]))
	}
	return result, nil
}

// figures returns the figures that a metric is about. A target group's metrics have the
// dimension LoadBalancer, too.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
func (m *Metrics) figures(metric types.Metric) []elb.MinuteFigures {
	dimensions := map[string]string{}
	for _, d := range metric.Dimensions {
		dimensions[aws.ToString(d.Name)] = aws.ToString(d.Value)
	}
	if aws.ToString(metric.Namespace) != "AWS/ApplicationELB" || len(dimensions) != 2 || !strings.HasPrefix(dimensions["LoadBalancer"], "app/") {
		return nil
	}
	return m.cfg.Figures(m.cfg.Scope.ARN("elasticloadbalancing", dimensions["TargetGroup"]))
}

// valuesOf returns the samples of a metric in a minute. Counts are reported only if they
// are not zero, with a sample for each request.
func valuesOf(figures elb.MinuteFigures, metric string) []float64 {
	count := 0
	switch metric {
	case "RequestCount":
		count = figures.Requests
	case "HTTPCode_Target_5XX_Count":
		count = figures.Errors5xx
	case "TargetConnectionErrorCount":
		count = figures.ConnectionErrors
	case "TargetResponseTime":
		var seconds []float64
		for _, latency := range figures.Latencies {
			seconds = append(seconds, latency.Seconds())
		}
		return seconds
	}
	return slices.Repeat([]float64{1}, count)
}

// statisticOf returns the function of a statistic: one by name, or a percentile such as
// p90 or p99.9.
func statisticOf(name string) (func([]float64) float64, error) {
	sum := func(values []float64) (total float64) {
		for _, v := range values {
			total += v
		}
		return total
	}
	switch name {
	case "Sum":
		return sum, nil
	case "SampleCount":
		return func(values []float64) float64 { return float64(len(values)) }, nil
	case "Average":
		return func(values []float64) float64 { return sum(values) / float64(len(values)) }, nil
	case "Minimum":
		return slices.Min[[]float64], nil
	case "Maximum":
		return slices.Max[[]float64], nil
	}
	percent, err := strconv.ParseFloat(strings.TrimPrefix(name, "p"), 64)
	if !strings.HasPrefix(name, "p") || err != nil || !(percent >= 0 && percent <= 100) {
		return nil, wire.Errorf("ValidationError", "The value '%s' for parameter Stat is not supported by the embedded AWS: want Sum, SampleCount, Average, Minimum, Maximum or a percentile such as p90", name)
	}
	return func(values []float64) float64 {
		sorted := slices.Sorted(slices.Values(values))
		return sorted[max(0, int(math.Ceil(percent/100*float64(len(sorted))))-1)]
	}, nil
}
