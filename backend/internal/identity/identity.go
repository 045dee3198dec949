// Package identity describes this instance of the service.
package identity

import (
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// Instance is one running process of the service. It is safe for concurrent use.
type Instance struct {
	// Hostname is the container's host name; on Fargate it contains the private address:
	// ip-10-0-10-7.ec2.internal.
	Hostname string
	// Version is the running version.
	Version string
	// Environment is the name of the environment; empty means none.
	Environment string
	// StartedAt is when the process started, in UTC.
	StartedAt time.Time

	ip atomic.Pointer[string]
}

// New returns the instance of this process. An empty hostname is that of the operating
// system, and an empty version that of the binary. The address is the host's until
// Resolve sets the task's.
func New(hostname, version string) *Instance {
	if hostname == "" {
		hostname = lookupHostname("unknown", os.Hostname)
	}
	if version == "" {
		info, _ := debug.ReadBuildInfo()
		version = buildVersion(info)
	}
	instance := &Instance{Hostname: hostname, Version: version, StartedAt: time.Now().UTC()}
	instance.setIP(hostIP())
	return instance
}

// IP returns the task's address once it is resolved, before that the host's.
func (i *Instance) IP() string { return *i.ip.Load() }

func (i *Instance) setIP(ip string) { i.ip.Store(&ip) }

// buildVersion returns the main module's version in the build information, or "dev" if it
// has none, as in a build from a working tree.
func buildVersion(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

func lookupHostname(fallback string, lookup func() (string, error)) string {
	if name, err := lookup(); err == nil && name != "" {
		return name
	}
	return fallback
}
