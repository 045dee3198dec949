// Package identity tells which instance of the service this process is.
package identity

import (
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Instance is one running process of the service. It is safe for concurrent
// use.
type Instance struct {
	// Hostname is the container's name; on Fargate it holds the private
	// address as in ip-10-0-10-7.ec2.internal.
	Hostname string
	// Version names the release that runs.
	Version string
	// StartedAt is when the process came up, in UTC.
	StartedAt time.Time

	ip atomic.Pointer[string]
}

// New describes this process. An empty hostname or version is looked up: the
// hostname with the operating system, the version in the binary. The address
// is at first the host's own; Resolve asks ECS for a better one.
func New(hostname, version string) *Instance {
	if hostname == "" {
		hostname = hostnameOr("unknown", os.Hostname)
	}
	if version == "" {
		info, _ := debug.ReadBuildInfo()
		version = Version(info)
	}
	instance := &Instance{Hostname: hostname, Version: version, StartedAt: time.Now().UTC()}
	instance.setIP(hostIP())
	return instance
}

// IP is the best address known so far.
func (i *Instance) IP() string { return *i.ip.Load() }

func (i *Instance) setIP(ip string) { i.ip.Store(&ip) }

// Version is the main module's version as the Go tool recorded it, or "dev"
// where it recorded none, as in a build from a working tree.
func Version(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

func hostnameOr(fallback string, lookup func() (string, error)) string {
	if name, err := lookup(); err == nil && name != "" {
		return name
	}
	return fallback
}
