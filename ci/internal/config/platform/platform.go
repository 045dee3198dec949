// Package platform reads the services file and derives the names of AWS resources from
// it. Terraform reads the same file, so one entry defines a service.
package platform

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// ServicesFile is the path of the services file in the source tree.
const ServicesFile = "terraform/services.auto.tfvars.json"

// DefaultRegion is the AWS region if none is configured.
const DefaultRegion = "us-east-1"

// Kind is the kind of a service. It decides how the image is built.
type Kind string

// The kinds of service.
const (
	Go         Kind = "go"         // a main package of a Go module
	Nginx      Kind = "nginx"      // static files served by an unprivileged Nginx
	Dockerfile Kind = "dockerfile" // a Dockerfile
	Prebuilt   Kind = "image"      // an image of another registry, which is copied
)

// Kinds lists the kinds in the order of messages.
func Kinds() []string {
	return []string{string(Go), string(Nginx), string(Dockerfile), string(Prebuilt)}
}

// Service is one entry of the services file: a web service with a port and routes, a
// worker without them, or a scheduled job. Optional fields that are absent have their
// zero value; the accessors return the defaults.
type Service struct {
	// Name is the entry's key, and by default the name of the container.
	Name string `json:"-"`
	// prefix begins the derived names; empty means [Project].
	prefix string
	// shared is the repository of another entry with the same build, or empty.
	shared string

	Build
	Names
	Container

	// Port is the TCP port that the container listens on; 0 for workers and jobs.
	Port int `json:"port"`
	// HealthPath is the path of the load balancer's health check; 200 means healthy.
	HealthPath string `json:"health_path"`
	// Routes are the path patterns that the load balancer forwards to this service.
	Routes []string `json:"routes"`
	// GracePeriod is how many seconds failed health checks of a new task are ignored;
	// nil means 30.
	GracePeriod *int `json:"grace_period"`

	// CPU is in CPU units, 1024 per vCPU. Memory is in MiB.
	CPU    int `json:"cpu"`
	Memory int `json:"memory"`
	// DesiredCount is the number of tasks. [Parse] sets [DefaultDesiredCount] for a service
	// without one.
	DesiredCount int `json:"desired_count"`
	// MinCount and MaxCount limit autoscaling; nil means the desired count, and four times
	// that.
	MinCount *int `json:"min_count"`
	MaxCount *int `json:"max_count"`
	// Scaling replaces the platform's scaling targets.
	Scaling *Scaling `json:"scaling"`
	// Strategy is how a release replaces the tasks of the previous version; nil means
	// [Rolling].
	Strategy *Strategy `json:"strategy"`
	// Spot is the percentage of tasks on Fargate Spot, 0 to 100.
	Spot int `json:"spot"`
	// Architecture is X86_64 or ARM64; empty means the platform's.
	Architecture string `json:"architecture"`
	// EphemeralStorage is the task's disk in GiB, 21 to 200; 0 means Fargate's 20.
	EphemeralStorage int `json:"ephemeral_storage"`

	// Permissions are the statements of the task role.
	Permissions []Permission `json:"permissions"`
	// Sidecars are the other containers of the task, by name.
	Sidecars map[string]Sidecar `json:"sidecars"`
	// Volumes are the volumes of the task, by name.
	Volumes map[string]Volume `json:"volumes"`

	// Schedule makes the entry a job: an expression of EventBridge Scheduler, such as
	// "rate(1 hour)". ScheduleTimezone is the time zone of a cron expression; empty means
	// UTC.
	Schedule         string `json:"schedule"`
	ScheduleTimezone string `json:"schedule_timezone"`
	// ReleaseTask is the task to run before a release updates any service.
	ReleaseTask *ReleaseTask `json:"release_task"`
}

// Build describes how the image of an entry is built. Entries with equal builds share one
// image.
type Build struct {
	Kind Kind `json:"kind"`
	// Path is the entry's folder, slash-separated, relative to the source root; empty for
	// kind [Prebuilt].
	Path string `json:"path"`
	// Main is the main package of kind [Go], relative to Path; empty means [DefaultMain].
	Main string `json:"main"`
	// BuildTags are Go build tags.
	BuildTags []string `json:"build_tags"`
	// Files are files and folders of Path that the image of kind [Go] has below "/", which
	// is the working directory.
	Files []string `json:"files"`
	// Dockerfile is relative to Path; empty means "Dockerfile". Target is the stage to
	// build; empty means the last.
	Dockerfile string            `json:"dockerfile"`
	Target     string            `json:"target"`
	BuildArgs  map[string]string `json:"build_args"`
	// BuildSecrets are ids of secrets that RUN --mount=type=secret,id=ID may read. The
	// value is that of the environment variable ID.
	BuildSecrets []string `json:"build_secrets"`
	// Image is the image of kind [Prebuilt], with a tag or a digest.
	Image string `json:"image"`

	// Shared describes the entries that share the image; nil if it is of one entry only.
	Shared *Shared `json:"-"`
}

// Shared describes all entries with equal builds, so that their image is the same,
// whichever of them it is built for.
type Shared struct {
	Name          string   // of the first entry by name
	Ports         []int    // that the entries listen on
	Architectures []string // that the entries name
}

// Names are the names of an entry's AWS resources where they differ from the derived ones.
type Names struct {
	Service    string `json:"service"`
	Family     string `json:"family"`
	Container  string `json:"container"`
	Repository string `json:"repository"`
	Cluster    string `json:"cluster"`
}

// Container has the settings that the main container and sidecars have in common.
type Container struct {
	// Command replaces the command of the image.
	Command []string `json:"command"`
	// Environment are environment variables.
	Environment map[string]string `json:"environment"`
	// Secrets are environment variables whose values are in Secrets Manager or Parameter
	// Store: the ARN of a secret, optionally with JSON key, staging label and version, or
	// the name or ARN of a parameter.
	// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html
	Secrets map[string]string `json:"secrets"`
	// User is the user, and optionally group, that the container runs as; empty means that
	// of the kind or the image.
	User string `json:"user"`
	// ReadOnlyRootFilesystem mounts the root file system read-only; nil means true for
	// kinds [Go] and [Nginx], and false for others.
	ReadOnlyRootFilesystem *bool `json:"readonly_root_filesystem"`
	// StopTimeout is how many seconds the container has from SIGTERM to SIGKILL, 2 to 120;
	// 0 means 30.
	StopTimeout int `json:"stop_timeout"`
	// HealthCheck is the container's health check; nil means that of the kind, if any.
	HealthCheck *HealthCheck `json:"health_check"`
	// DependsOn are the conditions of other containers of the task, by name, before this
	// one starts: START, COMPLETE, SUCCESS or HEALTHY.
	DependsOn map[string]string `json:"depends_on"`
}

// HealthCheck is a health check that ECS runs in a container.
type HealthCheck struct {
	// Command begins with CMD or CMD-SHELL; ["NONE"] means no health check.
	Command []string `json:"command"`
	// Path is requested with wget on the entry's port, instead of a command.
	Path string `json:"path"`
	// Interval (5 to 300), Timeout (2 to 60) and StartPeriod (0 to 300) are in seconds,
	// Retries is 1 to 10; 0 means 10, 5, 10 and 3.
	Interval    int `json:"interval"`
	Timeout     int `json:"timeout"`
	StartPeriod int `json:"start_period"`
	Retries     int `json:"retries"`
}

// Sidecar is another container of the task, beside the main one.
type Sidecar struct {
	Container
	// Image is the image by digest. ImageOf is, instead, the name of an entry whose image
	// the sidecar runs; a release replaces it with that of the release.
	Image   string `json:"image"`
	ImageOf string `json:"image_of"`
	// Essential stops the task when the sidecar ends.
	Essential bool `json:"essential"`
	// Port is the TCP port that the sidecar listens on, or 0.
	Port int `json:"port"`
	// CPU, in CPU units, and Memory, in MiB, limit the sidecar; 0 means the task's.
	CPU    int `json:"cpu"`
	Memory int `json:"memory"`
}

// StrategyType is an ECS deployment strategy.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
type StrategyType string

// Deployment strategies. All but [Rolling] start all new tasks beside the old ones and then
// shift the load balancer's traffic.
const (
	Rolling   StrategyType = "rolling"
	BlueGreen StrategyType = "blue_green" // all traffic at once
	Canary    StrategyType = "canary"     // a small share, then the rest
	Linear    StrategyType = "linear"     // in equal steps
)

// Strategy is the deployment strategy of a service.
type Strategy struct {
	Type StrategyType `json:"type"`
	// Percent is the share of traffic of the canary (0.1 to 100; 0 means ECS's 5), or of each
	// linear step (3 to 100; 0 means ECS's 10).
	Percent float64 `json:"percent"`
	// StepBake is how many minutes ECS waits after the canary or a linear step, 0 to 1440;
	// nil means ECS's 10 (canary) or 6 (linear).
	StepBake *int `json:"step_bake_minutes"`
	// Bake is how many minutes the old tasks run on after all traffic was shifted, 0 to
	// 1440; nil means [DefaultBake].
	Bake *int `json:"bake_minutes"`
	// EarlySuccess is the percentage of healthy new tasks at which a rolling deployment
	// counts as successful, while old tasks still drain; 0 means when it is complete. ECS
	// allows none below the minimum healthy percent, so that 100 is the only one.
	EarlySuccess int `json:"early_success_percent"`
	// FailureThreshold is when the circuit breaker of a rolling deployment trips; nil means
	// ECS's default.
	FailureThreshold *FailureThreshold `json:"failure_threshold"`
}

// DefaultBake is the default of [Strategy.Bake], in minutes.
const DefaultBake = 5

// FailureThreshold is the threshold of ECS's deployment circuit breaker.
type FailureThreshold struct {
	// Type is count, bounded_percent or unbounded_percent.
	Type string `json:"type"`
	// Value is a number of tasks, or a percentage of the desired count.
	Value int `json:"value"`
	// KeepOnHealthyTask keeps the count of failed tasks when a task becomes healthy.
	KeepOnHealthyTask bool `json:"keep_on_healthy_task"`
}

// Kind returns the type of the strategy; [Rolling] for nil.
func (s *Strategy) Kind() StrategyType {
	if s == nil {
		return Rolling
	}
	return cmp.Or(s.Type, Rolling)
}

// Progressive reports whether all new tasks start beside the old ones.
func (s *Strategy) Progressive() bool { return s.Kind() != Rolling }

// StepPercent returns the share of traffic of the canary or of each linear step; 100 for
// other types.
func (s *Strategy) StepPercent() float64 {
	switch s.Kind() {
	case Canary:
		return cmp.Or(s.Percent, 5)
	case Linear:
		return cmp.Or(s.Percent, 10)
	}
	return 100
}

// StepBakeTime returns how long ECS waits after the canary or a linear step; 0 for other
// types.
func (s *Strategy) StepBakeTime() time.Duration {
	var minutes int
	switch s.Kind() {
	case Canary:
		minutes = 10
	case Linear:
		minutes = 6
	default:
		return 0
	}
	if s.StepBake != nil {
		minutes = *s.StepBake
	}
	return time.Duration(minutes) * time.Minute
}

// BakeTime returns how long the old tasks run on after all traffic was shifted; 0 for
// [Rolling].
func (s *Strategy) BakeTime() time.Duration {
	switch {
	case !s.Progressive():
		return 0
	case s.Bake == nil:
		return DefaultBake * time.Minute
	}
	return time.Duration(*s.Bake) * time.Minute
}

// Shares returns the new version's percentage of traffic after each step; none for
// [Rolling].
func (s *Strategy) Shares() []float64 {
	switch s.Kind() {
	case Rolling:
		return nil
	case Canary:
		if s.StepPercent() < 100 {
			return []float64{s.StepPercent(), 100}
		}
	case Linear:
		var shares []float64
		step := math.Round(s.StepPercent() * 10) // whole numbers add up exactly
		for share := step; share < 1000; share += step {
			shares = append(shares, share/10)
		}
		return append(shares, 100)
	}
	return []float64{100}
}

// Scaling has the targets of autoscaling: average CPU and memory in percent, and requests
// per task and minute. 0 means the platform's.
type Scaling struct {
	CPU             int `json:"cpu"`
	Memory          int `json:"memory"`
	RequestsPerTask int `json:"requests_per_task"`
}

// Permission is a statement of a task role's policy.
type Permission struct {
	Actions   []string `json:"actions"`
	Resources []string `json:"resources"`
	// Conditions are values by operator and key.
	Conditions map[string]map[string][]string `json:"conditions"`
	// Reason is why the statement needs an action or resource that is only a wildcard.
	Reason string `json:"reason"`
}

// Volume is a volume of a task: of EFS, in memory, or else on the task's disk.
type Volume struct {
	MountPath string `json:"mount_path"`
	ReadOnly  bool   `json:"read_only"`
	// EFSFileSystem and EFSAccessPoint are the ids of an EFS access point.
	EFSFileSystem  string `json:"efs_file_system"`
	EFSAccessPoint string `json:"efs_access_point"`
	// TmpfsSize is the size of a volume in memory in MiB.
	TmpfsSize int `json:"tmpfs_size"`
	// Containers are the containers that mount it; empty means the main one.
	Containers []string `json:"containers"`
}

// ReleaseTask is a task that runs once a release, before any service is updated.
type ReleaseTask struct {
	Command []string `json:"command"`
	// Timeout limits the task, in seconds; nil means [DefaultReleaseTaskTimeout].
	Timeout *int `json:"timeout"`
	// CPU and Memory are the task's size; 0 means the entry's.
	CPU    int `json:"cpu"`
	Memory int `json:"memory"`
}

// BinaryName is the file name of the binary in the root of an image of kind [Go].
const BinaryName = "server"

// Defaults of optional fields.
const (
	DefaultMain               = "./cmd/server"
	DefaultDockerfile         = "Dockerfile"
	DefaultDesiredCount       = 1
	DefaultReleaseTaskTimeout = 600 // seconds
	DefaultTestListenerPort   = 10080
)

// Platform is the content of a services file.
type Platform struct {
	// Environment is where the services run.
	Environment Environment
	// Services are sorted by name.
	Services []Service
}

// Names of shared resources, as in the reference system.
const (
	Project      = "ecs"
	Cluster      = Project + "-cluster"
	LoadBalancer = Project + "-alb"
)

// IsJob reports whether the entry is a scheduled job, which has no ECS service.
func (s Service) IsJob() bool { return s.Schedule != "" }

// IsWeb reports whether the load balancer forwards requests to the service.
func (s Service) IsWeb() bool { return s.Port != 0 }

// MainPackage returns the main package of kind [Go], relative to the entry's folder.
func (b Build) MainPackage() string { return cmp.Or(b.Main, DefaultMain) }

// DockerfilePath returns the path of the Dockerfile in the source tree.
func (b Build) DockerfilePath() string {
	return path.Join(b.Path, cmp.Or(b.Dockerfile, DefaultDockerfile))
}

// HasFile reports whether Files has a file, by its path in the source tree.
func (b Build) HasFile(name string) bool {
	return slices.ContainsFunc(b.Files, func(file string) bool {
		at := path.Join(b.Path, file)
		return name == at || strings.HasPrefix(name, at+"/")
	})
}

// RequiredFiles returns the files or folders of which the entry's folder must have one,
// relative to it; none for kind [Prebuilt].
func (b Build) RequiredFiles() []string {
	switch b.Kind {
	case Go:
		return []string{"go.mod"}
	case Nginx:
		return []string{"site", "index.html"}
	case Dockerfile:
		return []string{cmp.Or(b.Dockerfile, DefaultDockerfile)}
	}
	return nil
}

// WithStrategy returns the platform with a deployment strategy for all web services that ECS
// can shift the traffic of: those with few enough routes. A strategy of the same type stays.
func (p Platform) WithStrategy(strategy Strategy) (Platform, error) {
	p.Services = slices.Clone(p.Services)
	for n := range p.Services {
		if s := &p.Services[n]; s.IsWeb() && len(s.Routes) <= maxRulePatterns && s.Strategy.Kind() != strategy.Kind() {
			s.Strategy = &strategy
		}
	}
	return p, p.validate()
}

// ShiftsTraffic reports whether a release shifts the load balancer's traffic from the old
// tasks to the new ones. ECS cannot shift a worker's.
func (s Service) ShiftsTraffic() bool { return s.IsWeb() && s.Strategy.Progressive() }

// ClusterName returns the name of the ECS cluster.
func (s Service) ClusterName() string {
	return cmp.Or(s.Cluster, Environment{NamePrefix: s.prefix}.Cluster())
}

// ServiceName returns the name of the ECS service.
func (s Service) ServiceName() string {
	return cmp.Or(s.Service, s.derived("-service"))
}

// Family returns the task definition family.
func (s Service) Family() string { return cmp.Or(s.Names.Family, s.derived("-task")) }

// ContainerName returns the name of the service's main container in its task definition.
func (s Service) ContainerName() string { return cmp.Or(s.Names.Container, s.Name) }

// Repository returns the name of the ECR repository. Entries that share an image share
// that of the first of them by name, unless one is named.
func (s Service) Repository() string {
	return cmp.Or(s.Names.Repository, s.shared, cmp.Or(s.prefix, Project)+"-microservices-"+s.Name)
}

// Entry returns the service as the services file has it, without what other entries and the
// environment add.
func (s Service) Entry() Service {
	s.prefix, s.shared, s.Shared = "", "", nil
	return s
}

// derived returns a name that is derived from the entry's.
func (s Service) derived(suffix string) string {
	return cmp.Or(s.prefix, Project) + "-" + s.Name + suffix
}

// ImageOf returns what the entries that share the service's image have in common.
func (s Service) ImageOf() Shared {
	if s.Shared != nil {
		return *s.Shared
	}
	shared := Shared{Name: s.Name}
	shared.add(s)
	return shared
}

func (s *Shared) add(service Service) {
	if service.Port != 0 && !slices.Contains(s.Ports, service.Port) {
		s.Ports = append(s.Ports, service.Port)
	}
	if a := service.Architecture; a != "" && !slices.Contains(s.Architectures, a) {
		s.Architectures = append(s.Architectures, a)
	}
}

// LogGroup returns the name of the CloudWatch log group of the service's containers.
func (s Service) LogGroup() string { return "/ecs/" + s.derived("") }

// TargetGroup returns the name of the load balancer's target group.
func (s Service) TargetGroup() string { return s.derived("-tg") }

// AlternateTargetGroup returns the name of the target group that a service with a
// progressive strategy has besides [Service.TargetGroup]: every other version is in it.
func (s Service) AlternateTargetGroup() string { return s.derived("-t2") }

// InfrastructureRole returns the name of the role that ECS shifts traffic with.
func (s Service) InfrastructureRole() string {
	return Environment{NamePrefix: s.prefix}.InfrastructureRole()
}

// ScheduleName returns the name of a job's schedule in the default schedule group.
func (s Service) ScheduleName() string {
	return cmp.Or(s.Service, s.derived("-schedule"))
}

// CatchAll reports whether the service has the route [CatchAll].
func (s Service) CatchAll() bool { return slices.Contains(s.Routes, CatchAll) }

// Names returns the services' names.
func (p Platform) Names() []string {
	names := make([]string, len(p.Services))
	for i, s := range p.Services {
		names[i] = s.Name
	}
	return names
}
