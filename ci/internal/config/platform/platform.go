// Package platform reads the services file and derives from it every name
// that the pipeline uses. Terraform reads the same file by itself
// (services.auto.tfvars.json), so one entry makes a service.
package platform

import "slices"

// ServicesFile is the services file's place in the source tree.
const ServicesFile = "terraform/services.auto.tfvars.json"

// DefaultRegion is the AWS region where nothing else names one.
const DefaultRegion = "us-east-1"

// Kind says how a service's image is made.
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
	// HealthPath is what the load balancer asks for; 200 means healthy.
	HealthPath string `json:"health_path"`
	// Routes are the load balancer's path patterns that lead here.
	Routes []string `json:"routes"`
	// CPU is in Fargate's units, 1024 to a core; Memory is in MiB.
	CPU          int `json:"cpu"`
	Memory       int `json:"memory"`
	DesiredCount int `json:"desired_count"`
}

// Platform is everything that one services file describes.
type Platform struct {
	// Services are sorted by name.
	Services []Service
}

// Names of the platform's shared parts. They are the reference system's.
const (
	Project      = "ecs"
	Cluster      = Project + "-cluster"
	LoadBalancer = Project + "-alb"
)

// ServiceName is the name of the ECS service.
func (s Service) ServiceName() string { return Project + "-" + s.Name + "-service" }

// Family is the task definition family.
func (s Service) Family() string { return Project + "-" + s.Name + "-task" }

// Container is the name of the service's container in its task definition.
func (s Service) Container() string { return s.Name }

// Repository is the name of the ECR repository.
func (s Service) Repository() string { return Project + "-microservices-" + s.Name }

// LogGroup is the CloudWatch log group of the service's containers.
func (s Service) LogGroup() string { return "/ecs/" + Project + "-" + s.Name }

// TargetGroup is the name of the load balancer's target group.
func (s Service) TargetGroup() string { return Project + "-" + s.Name + "-tg" }

// CatchAll reports whether the service answers every path that no other
// service's route matches.
func (s Service) CatchAll() bool { return slices.Contains(s.Routes, CatchAll) }

// Names lists the services' names.
func (p Platform) Names() []string {
	names := make([]string, len(p.Services))
	for i, s := range p.Services {
		names[i] = s.Name
	}
	return names
}
