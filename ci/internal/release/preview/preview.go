// Package preview creates and removes the AWS resources of previews: copies of an
// environment's services that run the commit of a pull request behind the environment's
// load balancer. Terraform does not manage them, and they change nothing that it manages.
//
// A preview has no state of its own: its resources have its names and its tags, and only
// what has both is ever changed or removed. Package rollout releases to its services.
package preview

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// ECS is the part of the ECS API that previews need beside that of a release.
type ECS interface {
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	ListServices(context.Context, *ecs.ListServicesInput, ...func(*ecs.Options)) (*ecs.ListServicesOutput, error)
	CreateService(context.Context, *ecs.CreateServiceInput, ...func(*ecs.Options)) (*ecs.CreateServiceOutput, error)
	DeleteService(context.Context, *ecs.DeleteServiceInput, ...func(*ecs.Options)) (*ecs.DeleteServiceOutput, error)
	TagResource(context.Context, *ecs.TagResourceInput, ...func(*ecs.Options)) (*ecs.TagResourceOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	ListTaskDefinitionFamilies(context.Context, *ecs.ListTaskDefinitionFamiliesInput, ...func(*ecs.Options)) (*ecs.ListTaskDefinitionFamiliesOutput, error)
	ListTaskDefinitions(context.Context, *ecs.ListTaskDefinitionsInput, ...func(*ecs.Options)) (*ecs.ListTaskDefinitionsOutput, error)
	DeregisterTaskDefinition(context.Context, *ecs.DeregisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DeregisterTaskDefinitionOutput, error)
}

// ELB is the part of the Elastic Load Balancing API that previews need.
type ELB interface {
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	DescribeRules(context.Context, *elb.DescribeRulesInput, ...func(*elb.Options)) (*elb.DescribeRulesOutput, error)
	CreateRule(context.Context, *elb.CreateRuleInput, ...func(*elb.Options)) (*elb.CreateRuleOutput, error)
	DeleteRule(context.Context, *elb.DeleteRuleInput, ...func(*elb.Options)) (*elb.DeleteRuleOutput, error)
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	CreateTargetGroup(context.Context, *elb.CreateTargetGroupInput, ...func(*elb.Options)) (*elb.CreateTargetGroupOutput, error)
	ModifyTargetGroupAttributes(context.Context, *elb.ModifyTargetGroupAttributesInput, ...func(*elb.Options)) (*elb.ModifyTargetGroupAttributesOutput, error)
	DeleteTargetGroup(context.Context, *elb.DeleteTargetGroupInput, ...func(*elb.Options)) (*elb.DeleteTargetGroupOutput, error)
	DescribeTags(context.Context, *elb.DescribeTagsInput, ...func(*elb.Options)) (*elb.DescribeTagsOutput, error)
	AddTags(context.Context, *elb.AddTagsInput, ...func(*elb.Options)) (*elb.AddTagsOutput, error)
}

// Client creates, finds and removes the previews of an environment.
type Client struct {
	ECS   ECS
	ELB   ELB
	Clock rollout.Clock
	// Prefix begins the names of the environment's resources.
	Prefix string
	// Clusters are those of the environment's services.
	Clusters []string
	// Register registers a revision and returns its ARN.
	Register func(context.Context, types.TaskDefinition, []types.Tag) (string, error)
	// Event is called with each line of the log; service is "" for the whole preview.
	Event func(service, text string)
}

// MaxNumber is the highest number of a pull request, so that names stay short enough.
const MaxNumber = 9_999_999

// maxGroupName is the length of the longest name of a target group.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
const maxGroupName = 32

// name returns the name of an entry's ECS service and task definition family in a preview.
func (c Client) name(number int, entry string) string {
	return fmt.Sprintf("%s-pr%d-%s", c.Prefix, number, entry)
}

// groupName returns the name of an entry's target group in a preview. A name that is too
// long ends in a hash instead.
func (c Client) groupName(number int, entry string) string {
	name := c.name(number, entry)
	if len(name) <= maxGroupName {
		return name
	}
	sum := sha256.Sum256([]byte(entry))
	start := c.name(number, "")
	return start + hex.EncodeToString(sum[:])[:min(12, maxGroupName-len(start))]
}

// numberOf returns the number of the preview that a name has the form for, or 0.
func (c Client) numberOf(name string) int {
	rest, ok := strings.CutPrefix(name, c.Prefix+"-pr")
	digits, entry, named := strings.Cut(rest, "-")
	number, err := strconv.Atoi(digits)
	if !ok || !named || entry == "" || err != nil || strconv.Itoa(number) != digits || number < 1 {
		return 0
	}
	return number
}

// Service returns an entry as it is in a preview: with its names, one task, and nothing
// that runs beside it.
func (c Client) Service(number int, s platform.Service) platform.Service {
	name := c.name(number, s.Name)
	s.Names = platform.Names{Service: name, Family: name, Container: s.ContainerName(), Repository: s.Repository(), Cluster: s.ClusterName()}
	s.DesiredCount, s.MinCount, s.MaxCount, s.Scaling, s.ReleaseTask, s.Strategy = 1, nil, nil, nil, nil, nil
	return s
}

// tags are the tags of a preview's resources.
type tags struct {
	number  int
	sha     string
	expires string
	created time.Time // of a service; not a tag
}

func newTags(number int, sha string, expires time.Time) tags {
	return tags{number: number, sha: sha, expires: expires.UTC().Format(time.RFC3339)}
}

func (t tags) pairs() [][2]string {
	var pairs [][2]string
	for _, pair := range [][2]string{{rollout.TagPreview, strconv.Itoa(t.number)}, {rollout.TagSHA, t.sha}, {rollout.TagExpires, t.expires}} {
		if pair[1] != "" {
			pairs = append(pairs, pair)
		}
	}
	return pairs
}

func (t tags) ecs() (all []types.Tag) {
	for _, pair := range t.pairs() {
		all = append(all, types.Tag{Key: aws.String(pair[0]), Value: aws.String(pair[1])})
	}
	return all
}

func (t tags) elb() (all []elbtypes.Tag) {
	for _, tag := range t.ecs() {
		all = append(all, elbtypes.Tag{Key: tag.Key, Value: tag.Value})
	}
	return all
}

// parseTags parses the tags of a resource. Its number is 0 if it is not of a preview.
func parseTags(all []types.Tag) tags {
	values := map[string]string{}
	for _, tag := range all {
		values[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	number, _ := strconv.Atoi(values[rollout.TagPreview])
	return tags{number: number, sha: values[rollout.TagSHA], expires: values[rollout.TagExpires]}
}

func parseELBTags(all []elbtypes.Tag) tags {
	var converted []types.Tag
	for _, tag := range all {
		converted = append(converted, types.Tag{Key: tag.Key, Value: tag.Value})
	}
	return parseTags(converted)
}

// Template returns a task definition as an entry has it in a preview: that of the
// environment with a family of its own, the smallest size that its containers fit in, and
// streams of its own in the same log groups.
func (c Client) Template(number int, s platform.Service, from types.TaskDefinition) types.TaskDefinition {
	to := from
	to.TaskDefinitionArn, to.Family = nil, aws.String(c.name(number, s.Name))
	to.Status, to.Revision, to.RegisteredAt, to.RegisteredBy, to.DeregisteredAt = "", 0, nil, nil, nil
	to.ContainerDefinitions = slices.Clone(from.ContainerDefinitions)
	cpu, memory := 0, 0
	for n := range to.ContainerDefinitions {
		container := &to.ContainerDefinitions[n]
		cpu += int(container.Cpu)
		memory += max(int(aws.ToInt32(container.Memory)), int(aws.ToInt32(container.MemoryReservation)))
		if container.LinuxParameters != nil {
			for _, mount := range container.LinuxParameters.Tmpfs {
				memory += int(mount.Size)
			}
		}
		if container.LogConfiguration != nil && container.LogConfiguration.LogDriver == types.LogDriverAwslogs {
			logs := *container.LogConfiguration
			logs.Options = map[string]string{}
			maps.Copy(logs.Options, container.LogConfiguration.Options)
			logs.Options["awslogs-stream-prefix"] = fmt.Sprintf("pr%d", number)
			container.LogConfiguration = &logs
		}
	}
	windows := from.RuntimePlatform != nil && strings.HasPrefix(string(from.RuntimePlatform.OperatingSystemFamily), "WINDOWS")
	if cpu, memory, ok := platform.SmallestSize(cpu, memory); ok && from.Cpu != nil && from.Memory != nil && !windows {
		to.Cpu, to.Memory = aws.String(strconv.Itoa(cpu)), aws.String(strconv.Itoa(memory))
	}
	return to
}

// hostSuffix matches a domain.
var hostSuffix = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

// maxHost is the length of the longest host in a rule's condition.
const maxHost = 128

// ValidHostSuffix reports whether prN.SUFFIX is a host for every number.
func ValidHostSuffix(suffix string) bool {
	return hostSuffix.MatchString(suffix) && len(fmt.Sprintf("pr%d.%s", MaxNumber, suffix)) <= maxHost
}

// Address is where a preview answers.
type Address struct {
	// Base is the URL of the load balancer, Internal whether only its network reaches it.
	Base     string
	Internal bool
	// Host routes by the header Host; empty routes by the path Prefix.
	Host, Prefix string
}

// URL returns the URL for reports, "" without a load balancer.
func (a Address) URL() string {
	scheme, host, ok := strings.Cut(a.Base, "://")
	switch {
	case !ok:
		return ""
	case a.Host == "":
		return a.Base + a.Prefix
	}
	_, port, ported := strings.Cut(host, ":")
	if ported {
		return scheme + "://" + a.Host + ":" + port
	}
	return scheme + "://" + a.Host
}

// groupOf returns the name in the ARN of a target group, …:targetgroup/NAME/ID.
func groupOf(arn string) string {
	parts := strings.Split(arn, "/")
	return parts[max(0, len(parts)-2)]
}
