package platform

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // 450 KB: not every machine has the time zones
)

// serviceName allows fewer names than ECS does, so that every derived name is valid, such
// as that of a target group, which has at most 32 characters:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,23}[a-z0-9]$`)

// IsServiceName reports whether an entry may have a name.
func IsServiceName(name string) bool { return serviceName.MatchString(name) }

// notInName matches what a service's name cannot contain.
var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// Hyphenate returns a text in lower case, with a hyphen between its letters and digits
// instead of anything else.
func Hyphenate(text string) string {
	return strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-")
}

// fargateMemory lists the memory sizes, in MiB, that Fargate offers for a CPU size:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
var fargateMemory = map[int][]int{
	256:   {512, 1024, 2048},
	512:   sizes(1024, 4096, 1024),
	1024:  sizes(2048, 8192, 1024),
	2048:  sizes(4096, 16384, 1024),
	4096:  sizes(8192, 30720, 1024),
	8192:  sizes(16384, 61440, 4096),
	16384: sizes(32768, 122880, 8192),
}

func sizes(low, high, step int) []int {
	var all []int
	for size := low; size <= high; size += step {
		all = append(all, size)
	}
	return all
}

// SmallestSize returns the smallest size of a Fargate task with at least the given CPU units
// and MiB of memory. ok is false if no size is that large.
func SmallestSize(leastCPU, leastMemory int) (cpu, memory int, ok bool) {
	for _, cpu := range slices.Sorted(maps.Keys(fargateMemory)) {
		if cpu < leastCPU {
			continue
		}
		for _, memory := range fargateMemory[cpu] {
			if memory >= leastMemory {
				return cpu, memory, true
			}
		}
	}
	return 0, 0, false
}

// IsVariableName reports whether an environment variable may have a name: letters, digits
// and underscores, not beginning with a digit.
func IsVariableName(name string) bool { return variableName.MatchString(name) }

// Patterns of names and values. terraform/modules/platform/variables.tf has the same.
var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	buildTag     = regexp.MustCompile(`^[A-Za-z0-9_.]+$`)
	ecsName      = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$`)
	// An image with a digest, or with a tag.
	digestImage = regexp.MustCompile(`^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$`)
	taggedImage = regexp.MustCompile(`^[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	// A secret's ARN with the three optional parts of ECS: JSON key, staging label and
	// version. https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
	secretARN     = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+(:[^:]*:[^:]*:[^:]*)?$`)
	parameterARN  = regexp.MustCompile(`^arn:aws[a-z-]*:ssm:([a-z0-9-]+):[0-9]{12}:parameter/[A-Za-z0-9_./-]+$`)
	parameterName = regexp.MustCompile(`^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$`)
	containerUser = regexp.MustCompile(`^[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?$`)
	// https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
	rateExpression = regexp.MustCompile(`^rate\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\)$`)
	timezone       = regexp.MustCompile(`^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)
	action         = regexp.MustCompile(`^(\*|[a-z0-9-]+:[A-Za-z0-9*?]+)$`)
	resourceARN    = regexp.MustCompile(`^(\*|arn:([^:]*:){4}.+)$`)
	everything     = regexp.MustCompile(`^(\*|[a-z0-9-]+:[*?]+|arn:([^:]*:){4}[*?/:]+)$`) // all actions or resources
	efsFileSystem  = regexp.MustCompile(`^fs-[0-9a-f]{8,40}$`)
	efsAccessPoint = regexp.MustCompile(`^fsap-[0-9a-f]{8,40}$`)
)

// cronExpression is compiled when a job needs it: it is large, and every command loads this
// package.
var cronExpression = sync.OnceValue(func() *regexp.Regexp {
	minutes := cronField(`[0-5]?[0-9]`, ``)
	hours := cronField(`(2[0-3]|[01]?[0-9])`, ``)
	days := cronField(`(3[01]|[12][0-9]|0?[1-9])`, `|L(-[0-9]+)?|LW|[0-9]+W`)
	months := cronField(`(1[0-2]|0?[1-9]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)`, ``)
	weekdays := cronField(`([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)`, `|L|([1-7]|[A-Z]{3})(L|#[1-5])`)
	years := cronField(`(19[7-9][0-9]|2[01][0-9]{2})`, ``)
	return regexp.MustCompile(`^cron\(` + minutes + ` ` + hours + ` (\? ` + months + ` ` + weekdays + `|` + days + ` ` + months + ` \?) ` + years + `\)$`)
})

// cronField returns a pattern of a list of values, ranges and steps, and of more.
func cronField(value, more string) string {
	item := `((\*|` + value + `(-` + value + `)?)?(/[1-9][0-9]*)|\*|` + value + `(-` + value + `)?` + more + `)`
	return item + `(,` + item + `)*`
}

// maxContainers is how many containers a task definition has at most.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-quotas.html
const maxContainers = 10

func (p Platform) validate() error {
	var problems []error
	services, families, routes, repositories := map[string]string{}, map[string]string{}, map[string]string{}, map[string]Service{}
	regions := map[string]string{}
	for _, s := range p.Services {
		for _, problem := range s.validate(p) {
			problems = append(problems, fmt.Errorf("service %q: %w", s.Name, problem))
		}
		if other, taken := families[s.Family()]; taken {
			problems = append(problems, fmt.Errorf("services %q and %q both have family %q: give one of them another", other, s.Name, s.Family()))
		}
		families[s.Family()] = s.Name
		cluster, service := s.ClusterName(), s.ServiceName()
		if s.IsJob() {
			cluster, service = "", s.ScheduleName()
		}
		if other, taken := services[cluster+"/"+service]; taken {
			problems = append(problems, fmt.Errorf("services %q and %q both have service %q: give one of them another", other, s.Name, service))
		}
		services[cluster+"/"+service] = s.Name
		if other, taken := repositories[s.Repository()]; taken && other.Key() != s.Key() {
			problems = append(problems, fmt.Errorf("services %q and %q both have repository %q for different images: give one of them another", other.Name, s.Name, s.Repository()))
		}
		repositories[s.Repository()] = s
		for _, route := range s.Routes {
			if other, taken := routes[route]; taken {
				problems = append(problems, fmt.Errorf("services %q and %q both have route %q: give it to one of them", other, s.Name, route))
			}
			routes[route] = s.Name
		}
		for region, secret := range s.secretRegions() {
			regions[region] = cmp.Or(regions[region], fmt.Sprintf("%s (%s of service %q)", region, secret, s.Name))
		}
	}
	if len(regions) > 1 {
		problems = append(problems, fmt.Errorf("secrets are in regions %s: ECS reads only those of the service's own region", strings.Join(slices.Sorted(maps.Values(regions)), " and ")))
	}
	return joinOneLine(slices.Concat(problems, checkPriorities(p.Services), checkOrder(p.Services)))
}

// CheckRegion returns an error if a secret is in another region than the account's
// clients.
func (p Platform) CheckRegion(region string) error {
	var problems []error
	for _, s := range p.Services {
		for other, secret := range sortedMap(s.secretRegions()) {
			if other != region {
				problems = append(problems, fmt.Errorf("service %q: secret %s is in region %s, and the service in %s: use a secret of the same region", s.Name, secret, other, region))
			}
		}
	}
	return joinOneLine(problems)
}

// regionPartition matches the beginning of the regions that are in one of partitions.
var (
	regionPartition = regexp.MustCompile(`^(cn|us-gov|us-iso[bf]?|eu-isoe|eusc)-`)
	partitions      = map[string]string{
		"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b", "us-isof": "aws-iso-f",
		"eu-isoe": "aws-iso-e", "eusc": "aws-eusc",
	}
)

// partition returns the partition of a region.
func partition(region string) string {
	if match := regionPartition.FindStringSubmatch(region); match != nil {
		return partitions[match[1]]
	}
	return "aws"
}

// secretRegions returns the regions of the secrets that are given by ARN, with the name of
// one of them.
func (s Service) secretRegions() map[string]string {
	all := []map[string]string{s.Secrets}
	for _, sidecar := range sortedMap(s.Sidecars) {
		all = append(all, sidecar.Secrets)
	}
	regions := map[string]string{}
	for _, secrets := range all {
		for name, from := range sortedMap(secrets) {
			for _, pattern := range []*regexp.Regexp{secretARN, parameterARN} {
				if match := pattern.FindStringSubmatch(from); match != nil {
					regions[match[1]] = cmp.Or(regions[match[1]], name)
				}
			}
		}
	}
	return regions
}

// checker collects the problems of an entry.
type checker struct {
	service  Service
	problems []error
}

func (c *checker) add(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// within adds a problem if a number is out of bounds.
func (c *checker) within(field string, value, low, high int) {
	if value < low || value > high {
		c.add("%s %d must be between %d and %d", field, value, low, high)
	}
}

// optional is within for a field whose zero value means the default.
func (c *checker) optional(field string, value, low, high int) {
	if value != 0 {
		c.within(field, value, low, high)
	}
}

func (s Service) validate(p Platform) []error {
	c := &checker{service: s}
	if !IsServiceName(s.Name) {
		c.add("the name must be 2 to 25 lower-case letters, digits and hyphens")
	}
	c.checkBuild()
	c.checkNames()
	c.checkTraffic()
	c.checkSize()
	c.checkSchedule()
	c.checkStrategy()
	c.checkPermissions()
	c.checkContainers(p)
	c.checkVolumes()
	if task := s.ReleaseTask; task != nil {
		if len(task.Command) == 0 {
			c.add("release_task has no command: give one, such as [\"migrate\"]")
		}
		if task.Timeout != nil {
			c.within("release_task: timeout", *task.Timeout, 1, 86400)
		}
		c.checkFargate("release_task: ", cmp.Or(task.CPU, s.CPU), cmp.Or(task.Memory, s.Memory))
		if s.IsJob() {
			c.add("release_task needs a service, and a job has none: give it to another entry")
		}
	}
	return c.problems
}

func (c *checker) checkBuild() {
	s := c.service
	if s.Kind == Prebuilt {
		switch {
		case s.Image == "":
			c.add("kind %q needs image: name one with a tag or digest", Prebuilt)
		case !digestImage.MatchString(s.Image) && !taggedImage.MatchString(s.Image):
			c.add("image %q must have a registry's path and a tag or digest, such as nginx:1.29", s.Image)
		}
		if s.Path != "" {
			c.add("path does not apply to kind %q: remove it", Prebuilt)
		}
	} else if s.Path == "" || path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path || !filepath.IsLocal(s.Path) {
		c.add("path %q must name a folder inside the source tree", s.Path)
	}
	if !slices.Contains(Kinds(), string(s.Kind)) {
		c.add("kind %q must be one of %s", s.Kind, strings.Join(Kinds(), ", "))
		return
	}
	for _, field := range []struct {
		name string
		set  bool
		of   Kind
	}{
		{"main", s.Main != "", Go},
		{"build_tags", len(s.BuildTags) > 0, Go},
		{"files", len(s.Files) > 0, Go},
		{"dockerfile", s.Dockerfile != "", Dockerfile},
		{"target", s.Target != "", Dockerfile},
		{"build_args", len(s.BuildArgs) > 0, Dockerfile},
		{"build_secrets", len(s.BuildSecrets) > 0, Dockerfile},
		{"image", s.Image != "", Prebuilt},
	} {
		if field.set && s.Kind != field.of {
			c.add("%s applies to kind %q only: remove it", field.name, field.of)
		}
	}
	if main := s.Main; main != "" && main != "." && (!strings.HasPrefix(main, "./") || "./"+path.Clean(main) != main || !filepath.IsLocal(main)) {
		c.add(`main %q must be a package below path, such as "./cmd/server"`, main)
	}
	for _, tag := range s.BuildTags {
		if !buildTag.MatchString(tag) {
			c.add("build tag %q must be letters, digits, dots and underscores", tag)
		}
	}
	for _, file := range s.Files {
		switch first, _, _ := strings.Cut(file, "/"); {
		case file == "." || path.Clean(file) != file || !filepath.IsLocal(file):
			c.add(`files %q must be a file or folder below path, such as "templates"`, file)
		case first == BinaryName:
			c.add("files %q cannot be in the image, where /%s is the binary: move it to another folder", file, BinaryName)
		}
	}
	if s.Dockerfile != "" && (path.IsAbs(s.Dockerfile) || !filepath.IsLocal(s.DockerfilePath())) {
		c.add("dockerfile %q must be a file inside the source tree, relative to path", s.Dockerfile)
	}
	for _, name := range slices.Concat(slices.Sorted(maps.Keys(s.BuildArgs)), s.BuildSecrets) {
		if !variableName.MatchString(name) {
			c.add("build argument or secret %q must be letters, digits and underscores, not beginning with a digit", name)
		}
	}
}

func (c *checker) checkNames() {
	names := c.service.Names
	for _, field := range []struct{ name, value string }{
		{"service", names.Service}, {"family", names.Family}, {"container", names.Container}, {"cluster", names.Cluster},
	} {
		if field.value != "" && !ecsName.MatchString(field.value) {
			c.add("%s %q must be 1 to 255 letters, digits, hyphens and underscores", field.name, field.value)
		}
	}
	if names.Repository != "" && (len(names.Repository) < 2 || len(names.Repository) > 256 || !repositoryPattern.MatchString(names.Repository)) {
		c.add("repository %q is no name of an ECR repository: write it like team/api", names.Repository)
	}
}

// checkTraffic checks the fields of a web service: port, health_path and routes.
func (c *checker) checkTraffic() {
	s := c.service
	if s.Port == 0 {
		switch {
		case len(s.Routes) > 0:
			c.add("routes without port: give the port that the container listens on")
		case s.HealthPath != "":
			c.add("health_path without port: give port and routes, or remove it")
		case s.GracePeriod != nil:
			c.add("grace_period without port: it applies to the load balancer's health checks; remove it")
		}
		return
	}
	lowest := 1024
	if s.Kind == Dockerfile || s.Kind == Prebuilt {
		lowest = 1
	}
	if s.Port < lowest || s.Port > 65535 {
		c.add("port %d must be between %d and 65535 (containers run unprivileged)", s.Port, lowest)
	}
	if !strings.HasPrefix(s.HealthPath, "/") {
		c.add(`health_path %q must begin with "/"`, s.HealthPath)
	}
	if len(s.Routes) == 0 {
		c.add(`routes is empty: name at least one path pattern, such as "/%s/*", or remove port and health_path for a worker`, s.Name)
	}
	for _, route := range s.Routes {
		if !strings.HasPrefix(route, "/") || len(route) > 128 {
			c.add(`route %q must begin with "/" and have at most 128 characters`, route)
		}
	}
	if s.GracePeriod != nil {
		c.within("grace_period", *s.GracePeriod, 0, 2147483647)
	}
}

func (c *checker) checkSize() {
	s := c.service
	c.checkFargate("", s.CPU, s.Memory)
	c.within("desired_count", s.DesiredCount, 0, 5000)
	if s.MinCount != nil {
		c.within("min_count", *s.MinCount, 0, s.DesiredCount)
	}
	if s.MaxCount != nil {
		c.within("max_count", *s.MaxCount, s.DesiredCount, 5000)
	}
	c.within("spot", s.Spot, 0, 100)
	c.optional("ephemeral_storage", s.EphemeralStorage, 21, 200)
	if s.Architecture != "" && s.Architecture != "X86_64" && s.Architecture != "ARM64" {
		c.add("architecture %q must be X86_64 or ARM64", s.Architecture)
	}
	if scaling := s.Scaling; scaling != nil {
		c.optional("scaling: cpu", scaling.CPU, 1, 100)
		c.optional("scaling: memory", scaling.Memory, 1, 100)
		c.optional("scaling: requests_per_task", scaling.RequestsPerTask, 1, 1000000)
		if scaling.RequestsPerTask != 0 && !s.IsWeb() {
			c.add("scaling: requests_per_task needs a port: a worker has no requests")
		}
	}
}

func (c *checker) checkFargate(prefix string, cpu, memory int) {
	if sizes, ok := fargateMemory[cpu]; !ok {
		c.add("%scpu %d is not a Fargate size: want one of %v", prefix, cpu, slices.Sorted(maps.Keys(fargateMemory)))
	} else if !slices.Contains(sizes, memory) {
		c.add("%smemory %d is not available with cpu %d: want one of %v", prefix, memory, cpu, sizes)
	}
}

func (c *checker) checkSchedule() {
	s := c.service
	if s.Schedule == "" {
		if s.ScheduleTimezone != "" {
			c.add("schedule_timezone without schedule: remove it")
		}
		return
	}
	if !rateExpression.MatchString(s.Schedule) && !cronExpression().MatchString(s.Schedule) {
		c.add(`schedule %q is no expression of EventBridge Scheduler: write it like "rate(5 minutes)" or "cron(0 3 * * ? *)"`, s.Schedule)
	}
	if s.ScheduleTimezone != "" && !isTimezone(s.ScheduleTimezone) {
		c.add(`schedule_timezone %q is no time zone: write it like "Europe/Berlin"`, s.ScheduleTimezone)
	}
	if s.Port != 0 || s.DesiredCount != 0 || s.MinCount != nil || s.MaxCount != nil || s.Scaling != nil {
		c.add("a job with a schedule has no port, desired_count, min_count, max_count or scaling: remove them")
	}
}

// isTimezone reports whether a time zone has a name. Go takes "Local" for the machine's.
func isTimezone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "Local" && timezone.MatchString(name)
}

// maxRulePatterns is how many path patterns a listener rule has at most.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
const maxRulePatterns = 5

// checkStrategy checks the strategy against ECS's limits.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func (c *checker) checkStrategy() {
	s := c.service.Strategy
	if s == nil {
		return
	}
	types := []string{string(Rolling), string(BlueGreen), string(Canary), string(Linear)}
	if !slices.Contains(types, string(s.Type)) {
		c.add("strategy: type %q must be one of %s", s.Type, strings.Join(types, ", "))
		return
	}
	if c.service.IsJob() {
		c.add("strategy needs a service, and a job has none: remove it")
	}
	for _, field := range []struct {
		name string
		set  bool
		of   []StrategyType
	}{
		{"percent", s.Percent != 0, []StrategyType{Canary, Linear}},
		{"step_bake_minutes", s.StepBake != nil, []StrategyType{Canary, Linear}},
		{"bake_minutes", s.Bake != nil, []StrategyType{BlueGreen, Canary, Linear}},
		{"early_success_percent", s.EarlySuccess != 0, []StrategyType{Rolling}},
		{"failure_threshold", s.FailureThreshold != nil, []StrategyType{Rolling}},
	} {
		if field.set && !slices.Contains(field.of, s.Type) {
			c.add("strategy: %s does not apply to type %q: remove it", field.name, s.Type)
		}
	}
	least := 0.1
	if s.Type == Linear {
		least = 3
	}
	if s.Percent != 0 && (s.Percent < least || s.Percent > 100) {
		c.add("strategy: percent %v must be between %v and 100", s.Percent, least)
	}
	if tenths := s.Percent * 10; math.Abs(tenths-math.Round(tenths)) > 1e-6 {
		c.add("strategy: percent %v must be in tenths, such as 2.5", s.Percent)
	}
	if s.StepBake != nil {
		c.within("strategy: step_bake_minutes", *s.StepBake, 0, 1440)
	}
	if s.Bake != nil {
		c.within("strategy: bake_minutes", *s.Bake, 0, 1440)
	}
	if s.EarlySuccess != 0 && s.EarlySuccess != 100 {
		c.add("strategy: early_success_percent %d must be 100: the platform keeps 100 %% of tasks healthy, and ECS allows no less", s.EarlySuccess)
	}
	if threshold := s.FailureThreshold; threshold != nil {
		if types := []string{"count", "bounded_percent", "unbounded_percent"}; !slices.Contains(types, threshold.Type) {
			c.add("strategy: failure_threshold: type %q must be one of %s", threshold.Type, strings.Join(types, ", "))
		}
		c.within("strategy: failure_threshold: value", threshold.Value, 1, 5000)
	}
	if n := len(c.service.Routes); c.service.ShiftsTraffic() && n > maxRulePatterns {
		c.add("%d routes are too many for strategy %q: ECS shifts one listener rule, which has at most %d patterns; use fewer, or type %q", n, s.Type, maxRulePatterns, Rolling)
	}
}

func (c *checker) checkPermissions() {
	for n, permission := range c.service.Permissions {
		at := fmt.Sprintf("permissions[%d]", n)
		if len(permission.Actions) == 0 || len(permission.Resources) == 0 {
			c.add("%s needs actions and resources", at)
		}
		for _, name := range permission.Actions {
			if !action.MatchString(name) {
				c.add(`%s: action %q must be like "s3:GetObject"`, at, name)
			}
		}
		for _, resource := range permission.Resources {
			if !resourceARN.MatchString(resource) {
				c.add(`%s: resource %q must be an ARN, or "*"`, at, resource)
			}
		}
		for _, name := range slices.Concat(permission.Actions, permission.Resources) {
			if everything.MatchString(name) && strings.TrimSpace(permission.Reason) == "" {
				c.add(`%s has the action or resource %q: name what the code needs, or give a reason`, at, name)
			}
		}
	}
}

// checkContainers checks the main container and the sidecars.
func (c *checker) checkContainers(p Platform) {
	s := c.service
	main := s.ContainerName()
	c.checkContainer("", s.Container)
	if s.HealthCheck != nil && s.HealthCheck.Path != "" && (s.Port == 0 || s.Kind == Go) {
		c.add("health_check: path needs a port and wget in the image, which kind %q has not: give a command", Go)
	}
	if len(s.Sidecars) >= maxContainers {
		c.add("%d sidecars are too many: a task has at most %d containers", len(s.Sidecars), maxContainers)
	}
	for name, sidecar := range sortedMap(s.Sidecars) {
		prefix := fmt.Sprintf("sidecar %q: ", name)
		if !ecsName.MatchString(name) || name == main {
			c.add("%sthe name must be letters, digits, hyphens and underscores, and not that of the main container", prefix)
		}
		switch {
		case (sidecar.Image == "") == (sidecar.ImageOf == ""):
			c.add("%sgive either image or image_of", prefix)
		case sidecar.Image != "" && !digestImage.MatchString(sidecar.Image):
			c.add("%simage %q must have a digest, such as collector@sha256:…", prefix, sidecar.Image)
		case sidecar.ImageOf != "" && !slices.Contains(p.Names(), sidecar.ImageOf):
			c.add("%simage_of %q is no entry of the services file", prefix, sidecar.ImageOf)
		}
		c.checkContainer(prefix, sidecar.Container)
		if sidecar.HealthCheck != nil && sidecar.HealthCheck.Path != "" {
			c.add("%shealth_check: path applies to the main container: give a command", prefix)
		}
		c.optional(prefix+"port", sidecar.Port, 1, 65535)
		if sidecar.Port != 0 && sidecar.Port == s.Port {
			c.add("%sport %d is that of the main container: give it another", prefix, sidecar.Port)
		}
		c.optional(prefix+"cpu", sidecar.CPU, 1, s.CPU)
		c.optional(prefix+"memory", sidecar.Memory, 6, s.Memory)
	}
	c.checkDependencies()
}

func (c *checker) checkContainer(prefix string, container Container) {
	for _, name := range slices.Sorted(maps.Keys(container.Environment)) {
		if !variableName.MatchString(name) {
			c.add("%senvironment %q must be letters, digits and underscores, not beginning with a digit", prefix, name)
		}
		if strings.Contains(container.Environment[name], "\x00") {
			c.add("%senvironment %q has a NUL character: remove it", prefix, name)
		}
		if _, twice := container.Secrets[name]; twice {
			c.add("%s%s is in environment and secrets: remove one", prefix, name)
		}
		if prefix == "" && (name == "PORT" || name == "VERSION") {
			c.add("environment sets %s, which the pipeline sets: remove it", name)
		}
	}
	for name, from := range sortedMap(container.Secrets) {
		if !variableName.MatchString(name) {
			c.add("%ssecret %q must be letters, digits and underscores, not beginning with a digit", prefix, name)
		}
		if !secretARN.MatchString(from) && !parameterARN.MatchString(from) && !parameterName.MatchString(from) {
			c.add("%ssecret %s must be the ARN of a Secrets Manager secret, with a JSON key as arn:…:secret:NAME:KEY::, or the name of a parameter", prefix, name)
		} else if part := strings.Split(from, ":"); part[0] == "arn" && part[1] != partition(part[3]) {
			c.add("%ssecret %s is in partition %s, but region %s is in %s: correct the ARN", prefix, name, part[1], part[3], partition(part[3]))
		}
	}
	if container.User != "" && !containerUser.MatchString(container.User) {
		c.add(`%suser %q must be like "1000:1000"`, prefix, container.User)
	}
	c.optional(prefix+"stop_timeout", container.StopTimeout, 2, 120)
	check := container.HealthCheck
	if check == nil {
		return
	}
	switch {
	case (len(check.Command) == 0) == (check.Path == ""):
		c.add("%shealth_check: give either command or path", prefix)
	case check.Path != "" && !strings.HasPrefix(check.Path, "/"):
		c.add(`%shealth_check: path %q must begin with "/"`, prefix, check.Path)
	case len(check.Command) > 0 && !slices.Equal(check.Command, []string{"NONE"}) && (len(check.Command) < 2 || !slices.Contains([]string{"CMD", "CMD-SHELL"}, check.Command[0])):
		c.add(`%shealth_check: command must begin with "CMD" or "CMD-SHELL", or be ["NONE"]`, prefix)
	}
	c.optional(prefix+"health_check: interval", check.Interval, 5, 300)
	c.optional(prefix+"health_check: timeout", check.Timeout, 2, 60)
	c.optional(prefix+"health_check: retries", check.Retries, 1, 10)
	c.optional(prefix+"health_check: start_period", check.StartPeriod, 0, 300)
}

// HasHealthCheck reports whether ECS checks the health of the main container.
func (s Service) HasHealthCheck() bool {
	if s.HealthCheck != nil {
		return !slices.Equal(s.HealthCheck.Command, []string{"NONE"})
	}
	return s.IsWeb() && (s.Kind == Go || s.Kind == Nginx)
}

// checkDependencies checks depends_on of all containers of the entry.
func (c *checker) checkDependencies() {
	s := c.service
	dependencies := map[string]map[string]string{s.ContainerName(): s.DependsOn}
	for name, sidecar := range s.Sidecars {
		dependencies[name] = sidecar.DependsOn
	}
	var circle []string
	for name, conditions := range sortedMap(dependencies) {
		for on, condition := range sortedMap(conditions) {
			at := fmt.Sprintf("container %q depends on %q", name, on)
			sidecar, isSidecar := s.Sidecars[on]
			checked, essential := s.HasHealthCheck(), true
			if isSidecar {
				checked, essential = sidecar.HealthCheck != nil && !slices.Equal(sidecar.HealthCheck.Command, []string{"NONE"}), sidecar.Essential
			}
			switch {
			case !isSidecar && on != s.ContainerName():
				c.add("%s, which is no container of the entry: it has %s", at, strings.Join(slices.Sorted(maps.Keys(dependencies)), ", "))
			case !slices.Contains([]string{"START", "COMPLETE", "SUCCESS", "HEALTHY"}, condition):
				c.add("%s with the condition %q: want START, COMPLETE, SUCCESS or HEALTHY", at, condition)
			case condition == "HEALTHY" && !checked:
				c.add("%s being HEALTHY, but that has no health_check: give it one", at)
			case (condition == "COMPLETE" || condition == "SUCCESS") && essential:
				c.add("%s to end, but that is essential, so the task would end with it: set essential to false", at)
			}
		}
		if dependsOn(dependencies, name, name, map[string]bool{}) {
			circle = append(circle, fmt.Sprintf("%q", name))
		}
	}
	if len(circle) > 0 {
		c.add("containers %s depend on each other in a circle: remove one dependency", strings.Join(circle, ", "))
	}
}

// dependsOn reports whether a container depends on another, directly or by others that
// were not visited.
func dependsOn(dependencies map[string]map[string]string, from, to string, visited map[string]bool) bool {
	for on := range dependencies[from] {
		if on == to {
			return true
		}
		if !visited[on] {
			visited[on] = true
			if dependsOn(dependencies, on, to, visited) {
				return true
			}
		}
	}
	return false
}

func (c *checker) checkVolumes() {
	s := c.service
	mounts := map[string]string{}
	for name, volume := range sortedMap(s.Volumes) {
		at := fmt.Sprintf("volume %q: ", name)
		if !ecsName.MatchString(name) {
			c.add("%sthe name must be 1 to 255 letters, digits, hyphens and underscores", at)
		}
		if !strings.HasPrefix(volume.MountPath, "/") || path.Clean(volume.MountPath) != volume.MountPath || volume.MountPath == "/" {
			c.add("%smount_path %q must be an absolute path, such as /data", at, volume.MountPath)
		}
		if (volume.EFSFileSystem == "") != (volume.EFSAccessPoint == "") {
			c.add("%sgive both efs_file_system and efs_access_point", at)
		}
		if volume.EFSFileSystem != "" && !efsFileSystem.MatchString(volume.EFSFileSystem) {
			c.add("%sefs_file_system %q must be like fs-0123456789abcdef0", at, volume.EFSFileSystem)
		}
		if volume.EFSAccessPoint != "" && !efsAccessPoint.MatchString(volume.EFSAccessPoint) {
			c.add("%sefs_access_point %q must be like fsap-0123456789abcdef0", at, volume.EFSAccessPoint)
		}
		if volume.EFSFileSystem != "" && volume.TmpfsSize != 0 {
			c.add("%sit is either of EFS or in memory: remove tmpfs_size or efs_file_system", at)
		}
		c.optional(at+"tmpfs_size", volume.TmpfsSize, 1, s.Memory)
		containers := volume.Containers
		if len(containers) == 0 {
			containers = []string{s.ContainerName()}
		}
		for _, container := range containers {
			if _, ok := s.Sidecars[container]; !ok && container != s.ContainerName() {
				c.add("%scontainer %q is not in the entry", at, container)
			}
			if other, taken := mounts[container+volume.MountPath]; taken {
				c.add("%scontainer %q has volume %q at %s, too: give one of them another mount_path", at, container, other, volume.MountPath)
			}
			mounts[container+volume.MountPath] = name
		}
	}
}

// sortedMap ranges over a map in the order of its keys.
func sortedMap[V any](m map[string]V) func(func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// joinOneLine joins errors on one line. It returns nil for none.
func joinOneLine(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	line := make([]string, len(problems))
	for i, problem := range problems {
		line[i] = problem.Error()
	}
	return errors.New(strings.Join(line, "; "))
}
