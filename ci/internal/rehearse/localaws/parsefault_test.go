package localaws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestParseFault(t *testing.T) {
	tests := map[string]struct {
		want localaws.Fault
		err  string
	}{
		"throttle":                          {want: localaws.Fault{Kind: localaws.Throttle}},
		"throttle:rate=0.3":                 {want: localaws.Fault{Kind: localaws.Throttle, Rate: 0.3}},
		"lost:action=UpdateService,times=1": {want: localaws.Fault{Kind: localaws.LostResponse, Action: "UpdateService", Times: 1}},
		"slow:service=ecs,delay=1m30s":      {want: localaws.Fault{Kind: localaws.Slow, Service: "ecs", Delay: 90 * time.Second}},
		"stale:delay=5s,rate=1":             {want: localaws.Fault{Kind: localaws.StaleRead, Delay: 5 * time.Second, Rate: 1}},
		"5xx":                               {want: localaws.Fault{Kind: localaws.ServerError}},
		"expired-token":                     {want: localaws.Fault{Kind: localaws.ExpiredToken}},
		"denied:action=GetRole,service=iam": {want: localaws.Fault{Kind: localaws.AccessDenied, Action: "GetRole", Service: "iam"}},
		"reset:times=2":                     {want: localaws.Fault{Kind: localaws.Reset, Times: 2}},
		"5xx:after=4096":                    {want: localaws.Fault{Kind: localaws.ServerError, After: 4096}},
		"reset:after=0":                     {err: `after=0: want a number of bytes above 0, such as after=65536`},
		"throtle":                           {err: `unknown kind "throtle": did you mean throttle?`},
		"":                                  {err: `unknown kind "": want one of throttle, 5xx, reset, slow, expired-token, lost, stale, denied, capacity, hidden`},
		"lost:":                             {err: `unknown key "": want one of service, action, rate, times, delay, after`},
		"lost:acton=UpdateService":          {err: `unknown key "acton": did you mean action?`},
		"lost:action":                       {err: `missing value of action: want action=UpdateService`},
		"lost:times=1,,":                    {err: `unknown key ""`},
		"throttle:rate=2":                   {err: `rate=2: want a share above 0 and up to 1, such as rate=0.3`},
		"throttle:rate=NaN":                 {err: `rate=NaN: want a share`},
		"throttle:times=0":                  {err: `times=0: want a whole number above 0, such as times=1`},
		"slow:delay=5":                      {err: `delay=5: want a duration above 0, such as delay=2s`},
		"slow":                              {err: `slow needs a delay: want slow:delay=2s`},
		"capacity:times=1":                  {want: localaws.Fault{Kind: localaws.NoCapacity, Times: 1}},
		"hidden:delay=5s":                   {want: localaws.Fault{Kind: localaws.Hidden, Delay: 5 * time.Second}},
		"hidden":                            {err: `hidden needs a delay: want hidden:delay=2s`},
		"stale:service=ecs":                 {err: `stale needs a delay`},
	}
	for text, test := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := localaws.ParseFault(text)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

// TestFaultsAreClassifiedBySDK checks which faults the SDK retries, in both protocols.
func TestFaultsAreClassifiedBySDK(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	calls := map[string]func() error{
		"AWS JSON": func() error {
			_, err := p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{}, func(o *ecs.Options) { o.RetryMaxAttempts = 1 })
			return err
		},
		"Query, ELB": func() error {
			_, err := p.ELB.DescribeTargetGroups(t.Context(), &elbv2.DescribeTargetGroupsInput{}, func(o *elbv2.Options) { o.RetryMaxAttempts = 1 })
			return err
		},
		"Query, IAM": func() error {
			_, err := p.IAM.GetRole(t.Context(), &iam.GetRoleInput{RoleName: aws.String("r")}, func(o *iam.Options) { o.RetryMaxAttempts = 1 })
			return err
		},
		"Query, STS": func() error {
			_, err := p.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}, func(o *sts.Options) { o.RetryMaxAttempts = 1 })
			return err
		},
	}
	tests := map[localaws.FaultKind]struct {
		retryable, throttled bool
		codes                []string // none for a broken connection
	}{
		localaws.Throttle:     {true, true, []string{"ThrottlingException", "Throttling"}},
		localaws.ServerError:  {true, false, []string{"InternalFailure"}},
		localaws.Reset:        {true, false, nil},
		localaws.LostResponse: {true, false, nil},
		localaws.ExpiredToken: {false, false, []string{"ExpiredTokenException", "ExpiredToken"}},
		localaws.AccessDenied: {false, false, []string{"AccessDeniedException", "AccessDenied"}},
	}
	retryer := retry.NewStandard()
	throttles := retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}
	for kind, test := range tests {
		for protocol, call := range calls {
			t.Run(string(kind)+" in "+protocol, func(t *testing.T) {
				defer p.Server.Inject(localaws.Fault{Kind: kind})()
				err := call()
				require.Error(t, err)
				require.Equal(t, test.retryable, retryer.IsErrorRetryable(err), "%v", err)
				require.Equal(t, test.throttled, throttles.IsErrorThrottle(err) == aws.TrueTernary, "%v", err)
				var answer smithy.APIError
				require.Equal(t, test.codes != nil, errors.As(err, &answer))
				if answer != nil {
					require.Contains(t, test.codes, answer.ErrorCode())
				}
			})
		}
	}
}

func TestLatency(t *testing.T) {
	const latency = 60 * time.Millisecond
	p := localawstest.Start(t, localaws.Options{Latency: latency})
	defer p.Server.Inject(localaws.Fault{Kind: localaws.Slow, Service: "ecs", Delay: latency})()
	began := time.Now()
	_, err := p.STS.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), latency)
	began = time.Now()
	_, err = p.ECS.ListClusters(t.Context(), &ecs.ListClustersInput{})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(began), 2*latency, "a fault's delay comes on top")
}
