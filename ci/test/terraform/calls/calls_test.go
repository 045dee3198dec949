package calls_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/policy"
	"github.com/slipway-cd/slipway/ci/test/terraform/calls"
)

const (
	form     = "application/x-www-form-urlencoded; charset=utf-8"
	regional = ":us-east-1:123456789012:"
	boundary = "arn:aws:iam::123456789012:policy/ecs-permissions-boundary"
)

// call returns an answered call of the query protocol.
func call(service, answer, fields string) calls.Call {
	values, err := url.ParseQuery(fields)
	if err != nil {
		panic(err)
	}
	return calls.Call{Service: service, Action: values.Get("Action"), Form: values, Status: http.StatusOK, Answer: answer}
}

// body returns a call of a JSON protocol.
func body(service, action string, fields map[string]any) calls.Call {
	return calls.Call{Service: service, Action: action, Body: fields, Status: http.StatusOK}
}

// object returns a call to S3.
func object(method, target string) calls.Call {
	parsed, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	return calls.Call{Service: "s3", Method: method, URL: parsed, Status: http.StatusOK}
}

// asked returns the requests of a call, one per line: action, resource and condition
// keys.
func asked(t *testing.T, w *calls.World, c calls.Call) []string {
	t.Helper()
	requests, err := w.Requests(c)
	require.NoError(t, err)
	lines := []string{}
	for _, r := range requests {
		lines = append(lines, line(r))
	}
	return lines
}

func line(r policy.Request) string {
	text := r.Action + " " + r.Resource
	var keys []string
	for key, values := range r.Context {
		keys = append(keys, " "+key+"="+strings.Join(values, ","))
	}
	slices.Sort(keys)
	return text + strings.Join(keys, "")
}

func TestRequests(t *testing.T) {
	const lb = "arn:aws:elasticloadbalancing" + regional
	tests := map[string]struct {
		call calls.Call
		want []string
	}{
		"a schedule": {
			calls.Call{Service: "scheduler", Action: "CreateSchedule", URL: &url.URL{Path: "/schedules/ecs-clock-schedule"}, Body: map[string]any{
				"GroupName": "default", "Target": map[string]any{"RoleArn": "arn:aws:iam::123456789012:role/ecs-clock-schedule-role"},
			}, Status: http.StatusOK},
			[]string{
				"scheduler:CreateSchedule arn:aws:scheduler" + regional + "schedule/default/ecs-clock-schedule",
				"iam:PassRole arn:aws:iam::123456789012:role/ecs-clock-schedule-role iam:PassedToService=scheduler.amazonaws.com",
			},
		},
		"a schedule read": {
			calls.Call{Service: "scheduler", Action: "GetSchedule", URL: &url.URL{Path: "/schedules/a", RawQuery: "groupName=b"}, Status: http.StatusOK},
			[]string{"scheduler:GetSchedule arn:aws:scheduler" + regional + "schedule/b/a"},
		},
		"a queue": {body("sqs", "CreateQueue", map[string]any{"QueueName": "ecs-clock-dlq", "tags": map[string]any{"Project": "shop"}}), []string{
			"sqs:CreateQueue arn:aws:sqs" + regional + "ecs-clock-dlq", "sqs:TagQueue arn:aws:sqs" + regional + "ecs-clock-dlq",
		}},
		"a queue read":      {body("sqs", "GetQueueAttributes", map[string]any{"QueueUrl": "http://localhost:5000/123456789012/ecs-clock-dlq"}), []string{"sqs:GetQueueAttributes arn:aws:sqs" + regional + "ecs-clock-dlq"}},
		"who am I":          {call("sts", "", "Action=GetCallerIdentity"), []string{}},
		"reading a network": {call("ec2", "", "Action=DescribeVpcs&VpcId.1=vpc-1"), []string{"ec2:DescribeVpcs *"}},
		"a network": {call("ec2", "<vpcId>vpc-1</vpcId>", "Action=CreateVpc&TagSpecification.1.ResourceType=vpc&TagSpecification.1.Tag.1.Key=Project&TagSpecification.1.Tag.1.Value=shop"), []string{
			"ec2:CreateVpc arn:aws:ec2" + regional + "vpc/* aws:RequestTag/Project=shop",
			"ec2:CreateTags arn:aws:ec2" + regional + "vpc/* aws:RequestTag/Project=shop ec2:CreateAction=CreateVpc",
		}},
		"what is made without tags": {call("ec2", "", "Action=CreateVpc"), []string{"ec2:CreateVpc arn:aws:ec2" + regional + "vpc/*"}},
		"a route":                   {call("ec2", "", "Action=CreateRoute&RouteTableId=rtb-1&NatGatewayId=nat-1"), []string{"ec2:CreateRoute arn:aws:ec2" + regional + "route-table/rtb-1"}},
		"a rule that goes":          {call("ec2", "", "Action=RevokeSecurityGroupEgress&GroupId=sg-1&SecurityGroupRuleId.1=sgr-1"), []string{"ec2:RevokeSecurityGroupEgress arn:aws:ec2" + regional + "security-group/sg-1"}},
		"of nothing known":          {call("ec2", "", "Action=DisassociateRouteTable&AssociationId=rtbassoc-1"), []string{"ec2:DisassociateRouteTable *"}},
		"a flow log": {call("ec2", "", "Action=CreateFlowLogs&DeliverLogsPermissionArn=arn:aws:iam::123456789012:role/r"), []string{
			"ec2:CreateFlowLogs arn:aws:ec2" + regional + "vpc-flow-log/*",
			"iam:PassRole arn:aws:iam::123456789012:role/r iam:PassedToService=vpc-flow-logs.amazonaws.com",
		}},
		"reading a load balancer": {call("elasticloadbalancing", "", "Action=DescribeLoadBalancers&Names.member.1=ecs-alb"), []string{"elasticloadbalancing:DescribeLoadBalancers *"}},
		"a load balancer": {call("elasticloadbalancing", "<a>"+lb+"loadbalancer/app/ecs-alb/5</a>", "Action=CreateLoadBalancer&Name=ecs-alb&Tags.member.1.Key=a&Tags.member.1.Value=b"), []string{
			"elasticloadbalancing:CreateLoadBalancer " + lb + "loadbalancer/app/ecs-alb/5", "elasticloadbalancing:AddTags " + lb + "loadbalancer/app/ecs-alb/5",
		}},
		"one that failed": {call("elasticloadbalancing", "", "Action=CreateTargetGroup&Name=ecs-a-tg"), []string{"elasticloadbalancing:CreateTargetGroup " + lb + "targetgroup/ecs-a-tg/0"}},
		"a listener": {call("elasticloadbalancing", "<a>"+lb+"listener/app/ecs-alb/5/6</a>", "Action=CreateListener&LoadBalancerArn="+lb+"loadbalancer/app/ecs-alb/5&Tags.member.1.Key=a"), []string{
			"elasticloadbalancing:CreateListener " + lb + "loadbalancer/app/ecs-alb/5", "elasticloadbalancing:AddTags " + lb + "listener/app/ecs-alb/5/6",
		}},
		"a role": {call("iam", "", "Action=CreateRole&RoleName=r&PermissionsBoundary="+boundary+"&Tags.member.1.Key=a"), []string{
			"iam:CreateRole arn:aws:iam::123456789012:role/r iam:PermissionsBoundary=" + boundary, "iam:TagRole arn:aws:iam::123456789012:role/r iam:PermissionsBoundary=" + boundary,
		}},
		"roles": {call("iam", "", "Action=ListRoles"), []string{"iam:ListRoles *"}},
		"a topic": {call("sns", "", "Action=CreateTopic&Name=ecs-alarms&Tags.member.1.Key=a"), []string{
			"sns:CreateTopic arn:aws:sns" + regional + "ecs-alarms", "sns:TagResource arn:aws:sns" + regional + "ecs-alarms",
		}},
		"a topic by its ARN": {call("sns", "", "Action=GetTopicAttributes&TopicArn=arn:aws:sns"+regional+"ecs-alarms"), []string{"sns:GetTopicAttributes arn:aws:sns" + regional + "ecs-alarms"}},
		"alarms":             {call("monitoring", "", "Action=DescribeAlarms&AlarmNames.member.1=ecs-a"), []string{"cloudwatch:DescribeAlarms arn:aws:cloudwatch" + regional + "alarm:ecs-a"}},
		"a cluster": {body("ecs", "CreateCluster", map[string]any{"clusterName": "c", "tags": []any{map[string]any{"key": "a"}}}), []string{
			"ecs:CreateCluster arn:aws:ecs" + regional + "cluster/c", "ecs:TagResource arn:aws:ecs" + regional + "cluster/c",
		}},
		"a service": {body("ecs", "CreateService", map[string]any{"cluster": "arn:aws:ecs" + regional + "cluster/c", "serviceName": "s"}), []string{"ecs:CreateService arn:aws:ecs" + regional + "service/c/s"}},
		"services":  {body("ecs", "DescribeServices", map[string]any{"cluster": "c", "services": []any{"s", "arn:aws:ecs" + regional + "service/c/t"}}), []string{"ecs:DescribeServices arn:aws:ecs" + regional + "service/c/s", "ecs:DescribeServices arn:aws:ecs" + regional + "service/c/t"}},
		"a revision": {body("ecs", "RegisterTaskDefinition", map[string]any{"family": "f", "executionRoleArn": "arn:aws:iam::123456789012:role/e"}), []string{
			"ecs:RegisterTaskDefinition arn:aws:ecs" + regional + "task-definition/f:*", "iam:PassRole arn:aws:iam::123456789012:role/e iam:PassedToService=ecs-tasks.amazonaws.com",
		}},
		"reading a revision": {body("ecs", "DescribeTaskDefinition", map[string]any{"taskDefinition": "arn:aws:ecs" + regional + "task-definition/f:1"}), []string{"ecs:DescribeTaskDefinition *"}},
		"repositories":       {body("ecr", "DescribeRepositories", map[string]any{"repositoryNames": []any{"r"}}), []string{"ecr:DescribeRepositories arn:aws:ecr" + regional + "repository/r"}},
		"the platform's key": {calls.Call{Service: "kms", Action: "DescribeKey", Body: map[string]any{"KeyId": "k"}, Answer: "123456789012"}, []string{"kms:DescribeKey arn:aws:kms" + regional + "key/k aws:ResourceTag/Environment=production aws:ResourceTag/Project=ecs-microservices"}},
		"a lock": {body("dynamodb", "PutItem", map[string]any{"TableName": "t", "Item": map[string]any{"LockID": map[string]any{"S": "bucket/key"}}}), []string{
			"dynamodb:PutItem arn:aws:dynamodb" + regional + "table/t dynamodb:LeadingKeys=bucket/key",
		}},
		"a firewall": {body("wafv2", "CreateWebACL", map[string]any{"Name": "ecs-alb", "Tags": map[string]any{"a": "b"}}), []string{
			"wafv2:CreateWebACL arn:aws:wafv2" + regional + "regional/webacl/ecs-alb/id", "wafv2:TagResource arn:aws:wafv2" + regional + "regional/webacl/ecs-alb/id",
		}},
		"a firewall before a load balancer": {body("wafv2", "AssociateWebACL", map[string]any{"ResourceArn": lb + "loadbalancer/app/a/1", "WebACLArn": "arn:aws:wafv2:f"}), []string{
			"wafv2:AssociateWebACL " + lb + "loadbalancer/app/a/1", "wafv2:AssociateWebACL arn:aws:wafv2:f", "elasticloadbalancing:SetWebACL " + lb + "loadbalancer/app/a/1",
		}},
		"all of a kind":         {body("logs", "DescribeLogGroups", map[string]any{"limit": 1.0}), []string{"logs:DescribeLogGroups *"}},
		"an object":             {object(http.MethodHead, "/bucket/a/b"), []string{"s3:GetObject arn:aws:s3:::bucket/a/b"}},
		"a version of it":       {object(http.MethodDelete, "/bucket/a?versionId=1"), []string{"s3:DeleteObjectVersion arn:aws:s3:::bucket/a"}},
		"an object that is put": {object(http.MethodPut, "/bucket/a?x-id=PutObject"), []string{"s3:PutObject arn:aws:s3:::bucket/a"}},
		"a bucket":              {object(http.MethodPut, "/bucket"), []string{"s3:CreateBucket arn:aws:s3:::bucket"}},
		"a bucket that goes":    {object(http.MethodDelete, "/bucket/"), []string{"s3:DeleteBucket arn:aws:s3:::bucket"}},
		"its objects":           {object(http.MethodGet, "/bucket?list-type=2&prefix=a"), []string{"s3:ListBucket arn:aws:s3:::bucket"}},
		"its versions":          {object(http.MethodGet, "/bucket?versions"), []string{"s3:ListBucketVersions arn:aws:s3:::bucket"}},
		"its policy":            {object(http.MethodGet, "/bucket?policy"), []string{"s3:GetBucketPolicy arn:aws:s3:::bucket"}},
		"its policy away":       {object(http.MethodDelete, "/bucket?policy"), []string{"s3:DeleteBucketPolicy arn:aws:s3:::bucket"}},
		"its rules away":        {object(http.MethodDelete, "/bucket?lifecycle"), []string{"s3:PutLifecycleConfiguration arn:aws:s3:::bucket"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, asked(t, calls.NewWorld("123456789012", "us-east-1"), tt.call))
		})
	}
}

// TestWorld checks that later calls know what earlier ones created: its tags, its
// boundary and its associations.
func TestWorld(t *testing.T) {
	w := calls.NewWorld("123456789012", "us-east-1")
	const tags = "&TagSpecification.1.Tag.1.Key=Project&TagSpecification.1.Tag.1.Value=shop"
	asked(t, w, call("ec2", "<vpcId>vpc-1</vpcId>", "Action=CreateVpc"+tags))
	require.Contains(t, asked(t, w, call("ec2", "<subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>", "Action=CreateSubnet&VpcId=vpc-1"+tags)),
		"ec2:CreateSubnet arn:aws:ec2"+regional+"vpc/vpc-1 aws:RequestTag/Project=shop aws:ResourceTag/Project=shop")

	failed := call("ec2", "<routeTableId>rtb-9</routeTableId>", "Action=CreateRouteTable"+tags)
	failed.Status = http.StatusBadRequest
	asked(t, w, failed)
	require.Equal(t, []string{"ec2:DeleteRouteTable arn:aws:ec2" + regional + "route-table/rtb-9"}, asked(t, w, call("ec2", "", "Action=DeleteRouteTable&RouteTableId=rtb-9")))

	// The default security group exists before it is tagged.
	require.Equal(t, []string{"ec2:CreateTags arn:aws:ec2" + regional + "security-group/sg-1 aws:RequestTag/Project=shop"},
		asked(t, w, call("ec2", "", "Action=CreateTags&ResourceId.1=sg-1&Tag.1.Key=Project&Tag.1.Value=shop")))
	require.Equal(t, []string{"ec2:RevokeSecurityGroupEgress arn:aws:ec2" + regional + "security-group/sg-1 aws:ResourceTag/Project=shop"},
		asked(t, w, call("ec2", "", "Action=RevokeSecurityGroupEgress&GroupId=sg-1")))

	asked(t, w, call("ec2", "<associationId>rtbassoc-1</associationId>", "Action=AssociateRouteTable&RouteTableId=rtb-1&SubnetId=subnet-1"))
	require.Equal(t, []string{
		"ec2:DisassociateRouteTable arn:aws:ec2" + regional + "route-table/rtb-1",
		"ec2:DisassociateRouteTable arn:aws:ec2" + regional + "subnet/subnet-1 aws:ResourceTag/Project=shop",
	}, asked(t, w, call("ec2", "", "Action=DisassociateRouteTable&AssociationId=rtbassoc-1")))

	asked(t, w, call("ec2", "<allocationId>eipalloc-1</allocationId>", "Action=AllocateAddress"+tags))
	asked(t, w, call("ec2", "<item><allocationId>eipalloc-1</allocationId><associationId>eipassoc-1</associationId></item>", "Action=DescribeAddresses"))
	require.Equal(t, []string{"ec2:DisassociateAddress arn:aws:ec2" + regional + "elastic-ip/eipalloc-1 aws:ResourceTag/Project=shop"},
		asked(t, w, call("ec2", "", "Action=DisassociateAddress&AssociationId=eipassoc-1")))

	asked(t, w, call("iam", "", "Action=CreateRole&RoleName=r&PermissionsBoundary="+boundary))
	require.Equal(t, []string{"iam:PutRolePolicy arn:aws:iam::123456789012:role/r iam:PermissionsBoundary=" + boundary}, asked(t, w, call("iam", "", "Action=PutRolePolicy&RoleName=r")))
}

// TestUnknown checks that unsupported calls are errors, because they could need any
// permission.
func TestUnknown(t *testing.T) {
	for want, c := range map[string]calls.Call{
		"what lambda:Invoke needs is not known here": body("lambda", "Invoke", nil),
		"what sts:AssumeRole needs":                  call("sts", "", "Action=AssumeRole"),
		"what s3 POST /bucket?delete needs":          object(http.MethodPost, "/bucket?delete"),
		"what s3 POST /bucket/a?uploads needs":       object(http.MethodPost, "/bucket/a?uploads"),
	} {
		_, err := calls.NewWorld("1", "us-east-1").Requests(c)
		require.ErrorContains(t, err, want)
	}
}

func TestRecorder(t *testing.T) {
	emulator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(append([]byte("answer to "), got...))
	}))
	defer emulator.Close()
	recorder := calls.Record(t, emulator.URL)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	send := func(method, path, service, text string, headers ...string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, recorder.URL+path, strings.NewReader(text))
		require.NoError(t, err)
		if service != "" {
			request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=any/20260501/us-east-1/"+service+"/aws4_request, SignedHeaders=host, Signature=any")
		}
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		response, err := client.Do(request)
		require.NoError(t, err)
		answer, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, "answer to "+text, string(answer), "it goes through as it is")
		require.Equal(t, http.StatusAccepted, response.StatusCode)
	}
	send(http.MethodPost, "/", "ec2", "Action=DescribeVpcs&Version=1", "Content-Type", form)
	send(http.MethodPost, "/", "ecs", `{"cluster":"c"}`, "X-Amz-Target", "AmazonEC2ContainerServiceV20141113.DescribeClusters")
	send(http.MethodPut, "/bucket/key", "s3", "content")
	made, err := recorder.Take()
	require.NoError(t, err)
	require.Len(t, made, 3)
	require.Equal(t, "DescribeVpcs", made[0].Action)
	require.Equal(t, "1", made[0].Form.Get("Version"))
	require.Equal(t, "DescribeClusters", made[1].Action)
	require.Equal(t, "c", made[1].Body["cluster"])
	require.Equal(t, "/bucket/key", made[2].URL.Path)
	require.Equal(t, http.StatusAccepted, made[2].Status)
	require.Equal(t, "answer to content", made[2].Answer)
	made, err = recorder.Take()
	require.NoError(t, err)
	require.Empty(t, made, "they are taken once")

	for want, say := range map[string]func(){
		"is not signed":       func() { send(http.MethodGet, "/", "", "") },
		"its JSON":            func() { send(http.MethodPost, "/", "ecs", "{", "X-Amz-Target", "a.b") },
		"its form":            func() { send(http.MethodPost, "/", "ec2", "%", "Content-Type", form) },
		"which action of ssm": func() { send(http.MethodGet, "/", "ssm", "") },
	} {
		recorder = calls.Record(t, emulator.URL)
		say()
		_, err = recorder.Take()
		require.ErrorContains(t, err, want)
	}
	emulator.Close()
	response, err := client.Get(recorder.URL)
	require.NoError(t, err)
	response.Body.Close()
	require.Equal(t, http.StatusBadGateway, response.StatusCode)
}
