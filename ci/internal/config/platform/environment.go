package platform

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// EnvironmentsDir is the folder of the environments' files in the source tree:
// NAME.tfvars.json for each.
const EnvironmentsDir = "terraform/environments"

const environmentSuffix = ".tfvars.json"

// Production is the environment of a tree without environment files.
const Production = "production"

// Environment is a deployment of the whole platform: a set of values of Terraform's
// variables, of which the pipeline reads those below.
type Environment struct {
	// Name is the file's name, and the value of the tag Environment. It is the name of the
	// GitHub environment, too.
	Name string `json:"environment"`
	// AccountID is the AWS account; empty means that of the credentials.
	AccountID string `json:"account_id"`
	// Region is the AWS region; empty means that of the AWS configuration.
	Region string `json:"region"`
	// NamePrefix begins the names of all resources; empty means [Project].
	NamePrefix string `json:"name_prefix"`
	// StateBucket, StateRegion and StateKey are where the Terraform state is; empty means
	// the backend's settings in the configuration.
	StateBucket string `json:"state_bucket"`
	StateRegion string `json:"state_region"`
	StateKey    string `json:"state_key"`
	// PromoteFrom is the only environment from which releases are promoted to this one;
	// empty means any.
	PromoteFrom string `json:"promote_from"`
	// TestListener is the port of the listener for test traffic; 0 means
	// [DefaultTestListenerPort].
	TestListener int `json:"test_listener_port"`
	// RegistryAccount is the AWS account whose repositories have the images; empty means the
	// environment's own.
	RegistryAccount string `json:"registry_account"`
	// Overrides replace fields of the services file, by service.
	Overrides map[string]Override `json:"service_overrides"`

	// File is the file in the source tree; empty for the environment of a tree without
	// files.
	File string `json:"-"`
}

// Override replaces fields of an entry of the services file in one environment. Variables
// and secrets are added to those of the entry.
type Override struct {
	CPU          *int              `json:"cpu"`
	Memory       *int              `json:"memory"`
	DesiredCount *int              `json:"desired_count"`
	MinCount     *int              `json:"min_count"`
	MaxCount     *int              `json:"max_count"`
	Scaling      *Scaling          `json:"scaling"`
	Strategy     *Strategy         `json:"strategy"`
	Spot         *int              `json:"spot"`
	Environment  map[string]string `json:"environment"`
	Secrets      map[string]string `json:"secrets"`
}

var (
	environmentName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}[a-z0-9]$`)
	namePrefix      = regexp.MustCompile(`^[a-z][a-z0-9-]{0,13}[a-z0-9]$`)
	accountID       = regexp.MustCompile(`^[0-9]{12}$`)
	regionName      = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	stateKey        = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)
)

// IsRegion reports whether a text has the form of an AWS region.
func IsRegion(text string) bool { return regionName.MatchString(text) }

// Environments returns the environments of the source tree at dir, sorted by name. A tree
// without files has one, [Production]. Errors are usage errors that name the file and the
// fix.
func Environments(dir string) ([]Environment, error) {
	folder := filepath.Join(dir, filepath.FromSlash(EnvironmentsDir))
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, outcome.Usagef("reading the environments: %w", err)
	}
	known := sync.OnceValue(func() []string { return KnownKeys(dir) })
	var all []Environment
	for _, entry := range entries {
		name, ok := strings.CutSuffix(entry.Name(), environmentSuffix)
		if !ok || entry.IsDir() {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, outcome.Usagef("reading the environments: %w", err)
		}
		file := path.Join(EnvironmentsDir, entry.Name())
		environment, err := parseEnvironment(name, data)
		if err == nil {
			err = checkKeys(data, known())
		}
		if err != nil {
			return nil, outcome.Usagef("%s: %w", file, err)
		}
		environment.File = file
		all = append(all, environment)
	}
	if len(all) == 0 {
		return []Environment{{Name: Production}}, nil
	}
	if err := checkDistinct(all); err != nil {
		return all, err
	}
	return all, checkPromoteFrom(all)
}

// checkPromoteFrom checks that promote_from names another environment, and that promotions
// form no cycle.
func checkPromoteFrom(all []Environment) error {
	var problems []error
	for _, e := range all {
		if e.PromoteFrom == "" {
			continue
		}
		source, err := find(all, e.PromoteFrom)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("environment %q: promote_from: %w", e.Name, err))
		case follows(all, source, e.Name):
			problems = append(problems, fmt.Errorf("environment %q: promote_from %q is promoted from %q itself: remove one of them", e.Name, source.Name, e.Name))
		}
	}
	if err := joinOneLine(problems); err != nil {
		return outcome.Usagef("%s: %w", EnvironmentsDir, err)
	}
	return nil
}

// follows reports whether an environment has a name, or is promoted, also indirectly, from
// the one that has it.
func follows(all []Environment, e Environment, name string) bool {
	for range all { // a circle of others ends
		if e.Name == name {
			return true
		}
		source, err := find(all, e.PromoteFrom)
		if err != nil {
			return false
		}
		e = source
	}
	return false
}

// SelectPromotion returns the environments of a promotion. Without a source, it is the
// target's promote_from.
func SelectPromotion(dir, from, to string) (source, target Environment, err error) {
	all, err := Environments(dir)
	if err != nil {
		return source, target, err
	}
	if to == "" {
		return source, target, outcome.Usagef("no target: name the environment with --to")
	}
	if target, err = find(all, to); err != nil {
		return source, target, outcome.Usagef("--to: %w", err)
	}
	if from = cmp.Or(from, target.PromoteFrom); from == "" {
		return source, target, outcome.Usagef("no source: name the environment with --from, or set promote_from in %s", target.File)
	}
	if source, err = find(all, from); err != nil {
		return source, target, outcome.Usagef("--from: %w", err)
	}
	switch {
	case source.Name == target.Name:
		err = outcome.Usagef("cannot promote %s to itself: name another environment with --from or --to", target.Name)
	case target.PromoteFrom != "" && target.PromoteFrom != source.Name:
		err = outcome.Usagef("cannot promote %s to %s: promote_from in %s is %q", source.Name, target.Name, target.File, target.PromoteFrom)
	case source.PromoteFrom != "" && follows(all, source, target.Name):
		err = outcome.Usagef("cannot promote %s to %s: %s is promoted from %s (promote_from in %s)", source.Name, target.Name, source.Name, source.PromoteFrom, source.File)
	}
	return source, target, err
}

// SelectEnvironment returns the environment with a name. Without a name, the tree must
// have only one.
func SelectEnvironment(dir, name string) (Environment, error) {
	all, err := Environments(dir)
	if err != nil {
		return Environment{}, err
	}
	return FindEnvironment(all, name)
}

// FindEnvironment is [SelectEnvironment] from environments that were read.
func FindEnvironment(all []Environment, name string) (Environment, error) {
	if name == "" && len(all) == 1 {
		return all[0], nil
	}
	if name == "" {
		return Environment{}, outcome.Usagef("several environments: name one with --env (in Dagger --environment): %s", strings.Join(EnvironmentNames(all), ", "))
	}
	e, err := find(all, name)
	return e, outcome.With(outcome.Usage, err)
}

// find returns the environment with a name. The error has a suggestion.
func find(all []Environment, name string) (Environment, error) {
	for _, e := range all {
		if e.Name == name {
			return e, nil
		}
	}
	names := EnvironmentNames(all)
	if near := outcome.Nearest(name, names); near != "" {
		return Environment{}, fmt.Errorf("no environment %q: did you mean %q?", name, near)
	}
	return Environment{}, fmt.Errorf("no environment %q in %s: it has %s", name, EnvironmentsDir, strings.Join(names, ", "))
}

// EnvironmentNames returns the names of environments.
func EnvironmentNames(all []Environment) []string {
	var names []string
	for _, e := range all {
		names = append(names, e.Name)
	}
	return names
}

// parseEnvironment decodes and validates the file of an environment. The file may contain
// other variables of Terraform.
func parseEnvironment(name string, data []byte) (Environment, error) {
	var e Environment
	if err := json.Unmarshal(data, &e); err != nil {
		return e, describeJSON(data, err)
	}
	var file struct {
		Overrides map[string]json.RawMessage `json:"service_overrides"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return e, describeJSON(data, err)
	}
	for _, service := range slices.Sorted(maps.Keys(file.Overrides)) {
		if string(file.Overrides[service]) == "null" {
			return e, fmt.Errorf("service_overrides: service %q is null: give the fields that differ, or remove it", service)
		}
		if err := decodeStrictly(file.Overrides[service], new(Override)); err != nil {
			return e, fmt.Errorf("service_overrides: service %q: %w", service, err)
		}
	}
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(environmentName.MatchString(name), "the file's name must be 2 to 32 lower-case letters, digits and hyphens")
	check(e.Name == name, "environment must be %q, as the file's name, not %q", name, e.Name)
	check(e.AccountID == "" || accountID.MatchString(e.AccountID), "account_id %q must be twelve digits", e.AccountID)
	check(e.RegistryAccount == "" || accountID.MatchString(e.RegistryAccount), "registry_account %q must be twelve digits", e.RegistryAccount)
	check(e.Region == "" || IsRegion(e.Region), "region %q is no AWS region: write it like us-east-1", e.Region)
	check(e.NamePrefix == "" || namePrefix.MatchString(e.NamePrefix), "name_prefix %q must be 2 to 15 lower-case letters, digits and hyphens", e.NamePrefix)
	check(!strings.HasPrefix(e.NamePrefix+"-", "internal-"), "name_prefix %q must not begin with internal-, as AWS's own load balancers do: choose another", e.NamePrefix)
	check(e.TestListener >= 0 && e.TestListener <= 65535 && e.TestListener != 80 && e.TestListener != 443, "test_listener_port %d must be 1 to 65535, but neither 80 nor 443", e.TestListener)
	check(e.StateKey == "" || stateKey.MatchString(e.StateKey), "state_key %q must be a path of letters, digits, dots, hyphens and underscores", e.StateKey)
	return e, joinOneLine(problems)
}

// defaultStateKey is the state's key in terraform/terraform.tf.
const defaultStateKey = "ecs-microservices/prod/terraform.tfstate"

// declared matches the name of a variable in a Terraform file.
var declared = regexp.MustCompile(`(?m)^variable "(\w+)"`)

// moduleInputs are the inputs of terraform/modules/platform that [Environment] does not
// have. A tree that calls the module by its version has no file that declares them.
var moduleInputs = []string{
	"alarm_emails", "alarm_thresholds", "alb_access_logs", "allowed_cidrs", "autoscaling", "azs", "certificate_arn", "container_insights", "cpu_architecture",
	"customer_managed_encryption", "deletion_protection", "domain_name", "images_to_keep", "initial_images", "log_retention_days", "nat", "permissions_boundary_name",
	"private_subnets", "project_name", "public_subnets", "pull_accounts", "repository", "test_listener_cidr_blocks", "tls_policy", "vpc_cidr", "vpc_endpoints",
	"waf", "waf_rate_limit",
}

// KnownKeys returns the keys of an environment's file: ours, the platform's inputs, and the
// variables of the configuration in the source tree at dir.
func KnownKeys(dir string) []string {
	keys := append(fieldNames(reflect.TypeFor[Environment]()), moduleInputs...)
	variables, _ := os.ReadFile(filepath.Join(dir, filepath.FromSlash(path.Dir(ServicesFile)), "variables.tf")) // may be elsewhere
	for _, match := range declared.FindAllSubmatch(variables, -1) {
		keys = append(keys, string(match[1]))
	}
	return keys
}

// checkKeys finds misspelled keys of an environment's file: Terraform only warns of keys
// that are no variable.
func checkKeys(data []byte, known []string) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return describeJSON(data, err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if slices.Contains(known, key) {
			continue
		}
		if near := outcome.Nearest(key, known); near != "" {
			return fmt.Errorf("unknown key %q: did you mean %q?", key, near)
		}
	}
	return nil
}

// checkDistinct checks that environments of one account share no names, and that none share
// a state. Without account_id, an environment could be in the account of any other. Roles
// have no region, so neither has an account's set of names. With the prefixes ecs and ecs-b,
// a service b-api of the one would have the names of the other's api.
func checkDistinct(all []Environment) error {
	var problems []error
	for n, e := range all {
		for _, other := range all[:n] {
			fix := "give one of them another"
			oneAccount := other.AccountID == e.AccountID || other.AccountID == "" || e.AccountID == ""
			if other.AccountID != e.AccountID && oneAccount {
				fix = "set account_id in both, or " + fix
			}
			shorter, longer := other.Prefix(), e.Prefix()
			if len(shorter) > len(longer) {
				shorter, longer = longer, shorter
			}
			switch {
			case !oneAccount:
			case shorter == longer:
				problems = append(problems, fmt.Errorf("environments %q and %q have the same name_prefix %q in one account: %s", other.Name, e.Name, e.Prefix(), fix))
			case strings.HasPrefix(longer, shorter+"-"):
				problems = append(problems, fmt.Errorf("environments %q and %q have name_prefix %q and %q in one account, so that names of the one could be the other's: %s", other.Name, e.Name, other.Prefix(), e.Prefix(), fix))
			}
			oneBucket := other.StateBucket != "" && other.StateBucket == e.StateBucket
			if key := cmp.Or(e.StateKey, defaultStateKey); (oneAccount || oneBucket) && cmp.Or(other.StateKey, defaultStateKey) == key {
				if oneBucket {
					fix = "give one of them another"
				}
				problems = append(problems, fmt.Errorf("environments %q and %q have the same state_key %q: %s", other.Name, e.Name, key, fix))
			}
		}
	}
	if err := joinOneLine(problems); err != nil {
		return outcome.Usagef("%s: %w", EnvironmentsDir, err)
	}
	return nil
}

// Label returns the name for reports, which is empty for the environment of a tree without
// files.
func (e Environment) Label() string {
	if e.File == "" {
		return ""
	}
	return e.Name
}

// Command returns a command line of slipway, with --env if the tree has environment files.
func (e Environment) Command(name string) string {
	if e.File == "" {
		return "slipway " + name
	}
	return "slipway " + name + " --env " + e.Name
}

// Backend returns the settings of the Terraform backend, as KEY=VALUE.
func (e Environment) Backend() []string {
	var settings []string
	for _, s := range []struct{ key, value string }{{"bucket", e.StateBucket}, {"region", e.StateRegion}, {"key", e.StateKey}} {
		if s.value != "" {
			settings = append(settings, s.key+"="+s.value)
		}
	}
	return settings
}

// Prefix returns the prefix of the names of all resources.
func (e Environment) Prefix() string { return cmp.Or(e.NamePrefix, Project) }

// Cluster returns the name of the ECS cluster.
func (e Environment) Cluster() string { return e.Prefix() + "-cluster" }

// LoadBalancer returns the name of the load balancer.
func (e Environment) LoadBalancer() string { return e.Prefix() + "-alb" }

// InfrastructureRole returns the name of the role that ECS shifts traffic with.
func (e Environment) InfrastructureRole() string { return e.Prefix() + "-ecs-infrastructure-role" }

// TestListenerPort returns the load balancer's port for requests to new versions.
func (e Environment) TestListenerPort() int { return cmp.Or(e.TestListener, DefaultTestListenerPort) }

// maxTargetGroupName is the length of the longest name that is derived from an entry's.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
const maxTargetGroupName = 32

// In returns the platform in an environment: with its names and overrides. Errors are
// usage errors.
func (p Platform) In(e Environment) (Platform, error) {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(e.Overrides)) {
		if _, err := p.Select(name); err != nil {
			problems = append(problems, fmt.Errorf("service_overrides: %w", err))
		}
	}
	services := slices.Clone(p.Services)
	for n := range services {
		s := &services[n]
		s.prefix = e.NamePrefix
		if s.IsWeb() && len(s.TargetGroup()) > maxTargetGroupName {
			problems = append(problems, fmt.Errorf("name_prefix %q is too long for service %q: %s has more than %d characters", e.Prefix(), s.Name, s.TargetGroup(), maxTargetGroupName))
		}
		if override, ok := e.Overrides[s.Name]; ok {
			override.apply(s)
		}
	}
	p.Services, p.Environment = services, e
	p.shareImages()
	if len(problems) == 0 && len(e.Overrides) > 0 {
		if err := p.validate(); err != nil {
			problems = append(problems, fmt.Errorf("with service_overrides: %w", err))
		}
	}
	if err := joinOneLine(problems); err != nil {
		return p, outcome.Usagef("%s: %w", e.File, err)
	}
	return p, nil
}

// CheckIn checks the platform in each of the environments.
func (p Platform) CheckIn(all []Environment) error {
	var problems []error
	for _, e := range all {
		if _, err := p.In(e); err != nil {
			problems = append(problems, err)
		}
	}
	if err := joinOneLine(problems); err != nil {
		return outcome.With(outcome.Usage, err)
	}
	return nil
}

func (o Override) apply(s *Service) {
	for _, field := range []struct{ to, from *int }{
		{&s.CPU, o.CPU}, {&s.Memory, o.Memory}, {&s.DesiredCount, o.DesiredCount}, {&s.Spot, o.Spot},
	} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	s.MinCount, s.MaxCount, s.Scaling = cmp.Or(o.MinCount, s.MinCount), cmp.Or(o.MaxCount, s.MaxCount), cmp.Or(o.Scaling, s.Scaling)
	s.Strategy = cmp.Or(o.Strategy, s.Strategy)
	s.Environment, s.Secrets = merged(s.Environment, o.Environment), merged(s.Secrets, o.Secrets)
	for name := range o.Secrets { // a secret may replace a variable, and the reverse
		if _, both := o.Environment[name]; !both {
			delete(s.Environment, name)
		}
	}
	for name := range o.Environment {
		if _, both := o.Secrets[name]; !both {
			delete(s.Secrets, name)
		}
	}
}

// merged returns the entries of both maps; those of the second win.
func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil && len(b) > 0 {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}
