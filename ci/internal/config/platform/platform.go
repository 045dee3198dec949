// Package platform reads the services file and derives the names of AWS resources from
// it. Terraform reads the same file, so one entry defines a service.
package platform

import "slices"

// ServicesFile is the path of the services file in the source tree.
const ServicesFile = "terraform/services.auto.tfvars.json"

// DefaultRegion is the AWS region if none is configured.
const DefaultRegion = "us-east-1"

// Kind is the kind of a service. It decides how the image is built.
type Kind string

// The kinds of service.
const (
	Go    Kind = "go"    // a Go module with one main package under cmd/server
	Nginx Kind = "nginx" // static files served by an unprivileged Nginx
)

// Service is one entry of the services file.
type Service struct {
	// Name is the entry's key, and the name of the container.
	Name string `json:"-"`
	// Path is the service's folder, slash-separated, relative to the source root.
	Path string `json:"path"`
	Kind Kind   `json:"kind"`
	// Port is the TCP port that the container listens on.
	Port int `json:"port"`
	// HealthPath is the path of the load balancer's health check; 200 means healthy.
	HealthPath string `json:"health_path"`
	// Routes are the path patterns that the load balancer forwards to this service.
	Routes []string `json:"routes"`
	// CPU is in CPU units, 1024 per vCPU. Memory is in MiB.
	CPU          int `json:"cpu"`
	Memory       int `json:"memory"`
	DesiredCount int `json:"desired_count"`
}

// Platform is the content of a services file.
type Platform struct {
	// Services are sorted by name.
	Services []Service
}

// Names of shared resources, as in the reference system.
const (
	Project      = "ecs"
	Cluster      = Project + "-cluster"
	LoadBalancer = Project + "-alb"
)

// ServiceName returns the name of the ECS service.
func (s Service) ServiceName() string { return Project + "-" + s.Name + "-service" }

// Family returns the task definition family.
func (s Service) Family() string { return Project + "-" + s.Name + "-task" }

// Container returns the name of the service's container in its task definition.
func (s Service) Container() string { return s.Name }

// Repository returns the name of the ECR repository.
func (s Service) Repository() string { return Project + "-microservices-" + s.Name }

// LogGroup returns the name of the CloudWatch log group of the service's containers.
func (s Service) LogGroup() string { return "/ecs/" + Project + "-" + s.Name }

// TargetGroup returns the name of the load balancer's target group.
func (s Service) TargetGroup() string { return Project + "-" + s.Name + "-tg" }

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
