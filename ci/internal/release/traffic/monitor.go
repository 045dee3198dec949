package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Monitor compares the figures of both versions while traffic is shifted.
type Monitor struct {
	CloudWatch cloudwatch.GetMetricDataAPIClient
	ELB        ELB
	Clock      rollout.Clock
	// Event is called with each line for the log of the release.
	Event func(service, text string)
	// Timeout limits a check including retries; 0 means [CheckTimeout].
	Timeout time.Duration

	balancers map[string]string     // values of the metrics' dimension LoadBalancer, by target group
	latest    map[string][2]Figures // of the previous and the new version, by service
	reported  bool                  // that figures cannot be read
	denied    bool
}

// CheckTimeout limits a check: the release does not watch its deployments meanwhile.
const CheckTimeout = 10 * time.Second

// Check returns an error that names each service whose new version is worse. Figures that
// cannot be read are reported once, and fail no release.
func (m *Monitor) Check(ctx context.Context, shifted []rollout.ShiftedTraffic) error {
	if len(shifted) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, cmp.Or(m.Timeout, CheckTimeout))
	defer cancel()
	if err := m.checkWeights(limited, shifted); err != nil || m.denied {
		return err
	}
	var problems []error
	// A call reads 500 metrics at most.
	for part := range slices.Chunk(shifted, 500/(2*len(metrics))) {
		figures, err := m.read(limited, part)
		if err != nil {
			if ctx.Err() == nil {
				m.notChecked(err)
			}
			break
		}
		if m.latest == nil {
			m.latest = map[string][2]Figures{}
		}
		for n, s := range part {
			m.latest[s.Service] = figures[n]
			if worse := Compare(figures[n][0], figures[n][1]); worse != "" {
				problems = append(problems, fmt.Errorf("%s: by the load balancer's figures, %s", s.Service, worse))
			}
		}
	}
	return errors.Join(problems...)
}

// checkWeights returns an error that names each service that bakes and does not get all traffic
// of its production rule. ECS does not notice, and stops the tasks that somebody gave it.
func (m *Monitor) checkWeights(ctx context.Context, shifted []rollout.ShiftedTraffic) error {
	var arns []string
	for _, s := range shifted {
		if s.Baking && s.Rule != "" {
			arns = append(arns, s.Rule)
		}
	}
	rules, err := DescribeRules(ctx, m.ELB, arns)
	if err != nil {
		return nil //nolint:nilerr // preflight reports that they cannot be read
	}
	var problems []error
	for _, s := range shifted {
		rule, ok := rules[s.Rule]
		if !ok || !s.Baking {
			continue
		}
		if !slices.Equal(Serving(Weights(rule)), []string{s.New}) {
			problems = append(problems, fmt.Errorf("%s: somebody changed the weights of production rule %s: not all of its traffic goes to target group %s, where the new version runs", s.Service, s.Rule, GroupName(s.New)))
		}
	}
	return errors.Join(problems...)
}

func (m *Monitor) notChecked(err error) {
	m.denied = awsauth.IsAccessDenied(err)
	if m.reported {
		return
	}
	m.reported = true
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("CloudWatch and Elastic Load Balancing did not answer in time")
	}
	m.Event("", "not checked: the load balancer's figures of both versions: "+outcome.OneLine(awsauth.Explain(err).Error()))
}

// Report reports the last figures of each service, and which were too few for a verdict.
func (m *Monitor) Report(services []string) {
	for _, name := range services {
		f, ok := m.latest[name]
		if !ok {
			continue
		}
		text := fmt.Sprintf("load balancer's figures of the new version: %s; of the previous one: %s", f[1], f[0])
		if f[1].Requests < MinRequests {
			text += fmt.Sprintf("; fewer than %d requests, so it was not judged by them", MinRequests)
		}
		m.Event(name, text)
	}
}

// metrics are the metrics of a target group that are read, with their statistics.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
var metrics = []struct{ name, statistic string }{
	{"RequestCount", "Sum"}, {"HTTPCode_Target_5XX_Count", "Sum"}, {"TargetResponseTime", "p90"},
}

// read returns the figures of the previous and the new version of each service, of the
// minutes since the new one got its first share.
func (m *Monitor) read(ctx context.Context, shifted []rollout.ShiftedTraffic) ([][2]Figures, error) {
	figures := make([][2]Figures, len(shifted))
	now := m.Clock.Now()
	start := slices.MinFunc(shifted, func(a, b rollout.ShiftedTraffic) int { return a.Since.Compare(b.Since) }).Since
	if !start.Before(now) {
		return figures, nil
	}
	if err := m.findBalancers(ctx, shifted); err != nil {
		return nil, err
	}
	var queries []types.MetricDataQuery
	for n, s := range shifted {
		for version, group := range []string{s.Previous, s.New} {
			for metric := range metrics {
				queries = append(queries, types.MetricDataQuery{Id: aws.String(fmt.Sprintf("m%d_%d_%d", n, version, metric)), MetricStat: &types.MetricStat{
					Period: aws.Int32(60), Stat: &metrics[metric].statistic, Metric: &types.Metric{
						Namespace: aws.String("AWS/ApplicationELB"), MetricName: &metrics[metric].name, Dimensions: []types.Dimension{
							{Name: aws.String("TargetGroup"), Value: aws.String(resourceOf(group))},
							{Name: aws.String("LoadBalancer"), Value: aws.String(m.balancers[group])},
						},
					},
				}})
			}
		}
	}
	points := map[string]map[time.Time]float64{} // by query and minute
	pages := cloudwatch.NewGetMetricDataPaginator(m.CloudWatch, &cloudwatch.GetMetricDataInput{StartTime: &start, EndTime: &now, MetricDataQueries: queries})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, result := range page.MetricDataResults {
			if result.StatusCode == types.StatusCodeInternalError || result.StatusCode == types.StatusCodeForbidden {
				return nil, fmt.Errorf("cloudwatch:GetMetricData has the status %s for a metric", result.StatusCode)
			}
			id := aws.ToString(result.Id)
			if points[id] == nil {
				points[id] = map[time.Time]float64{}
			}
			for k, at := range result.Timestamps[:min(len(result.Timestamps), len(result.Values))] {
				points[id][at] = result.Values[k]
			}
		}
	}
	for n, s := range shifted {
		figures[n] = sum(points, n, s.Since, now)
	}
	return figures, nil
}

// unsettled is how old a minute is at most whose metrics may still change.
const unsettled = 2 * time.Minute

// sum returns the figures of a service of whole minutes. The minute with the first share is
// left out, and the last one, unless it is old: its metrics may not be complete yet, and
// CloudWatch has errors of requests that it does not count yet. On a clock with shorter
// minutes, the last one is the one that has not ended.
func sum(points map[string]map[time.Time]float64, service int, since, now time.Time) (figures [2]Figures) {
	series := func(version, metric int) map[time.Time]float64 {
		return points[fmt.Sprintf("m%d_%d_%d", service, version, metric)]
	}
	var last time.Time
	for version := range figures {
		for metric := range metrics {
			for at := range series(version, metric) {
				if at.After(last) {
					last = at
				}
			}
		}
	}
	whole := func(at time.Time) bool {
		return !at.Before(since) && (at.Before(last) || now.Sub(at) >= unsettled)
	}
	for version := range figures {
		requests, seconds, weight := series(version, 0), 0.0, 0.0
		for at, count := range requests {
			if whole(at) {
				figures[version].Requests += int(count)
			}
		}
		for at, count := range series(version, 1) {
			if whole(at) {
				figures[version].Errors += int(count)
			}
		}
		for at, p90 := range series(version, 2) {
			if whole(at) {
				seconds, weight = seconds+p90*requests[at], weight+requests[at]
			}
		}
		if weight > 0 {
			figures[version].P90 = time.Duration(seconds / weight * float64(time.Second))
		}
	}
	return figures
}

// findBalancers finds the load balancer of each target group, which the metrics name, too.
func (m *Monitor) findBalancers(ctx context.Context, shifted []rollout.ShiftedTraffic) error {
	var unknown []string
	for _, s := range shifted {
		for _, group := range []string{s.Previous, s.New} {
			if _, ok := m.balancers[group]; !ok && group != "" && !slices.Contains(unknown, group) {
				unknown = append(unknown, group)
			}
		}
	}
	found, err := targetGroups(ctx, m.ELB, unknown, func(batch []string) *elb.DescribeTargetGroupsInput {
		return &elb.DescribeTargetGroupsInput{TargetGroupArns: batch}
	})
	if err != nil {
		return err
	}
	if m.balancers == nil {
		m.balancers = map[string]string{}
	}
	for _, group := range found {
		if len(group.LoadBalancerArns) > 0 {
			m.balancers[aws.ToString(group.TargetGroupArn)] = strings.TrimPrefix(resourceOf(group.LoadBalancerArns[0]), "loadbalancer/")
		}
	}
	for _, group := range unknown {
		if m.balancers[group] == "" {
			return fmt.Errorf("no load balancer forwards to target group %s", group)
		}
	}
	return nil
}

// resourceOf returns the last part of an ARN, such as targetgroup/NAME/ID.
func resourceOf(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }
