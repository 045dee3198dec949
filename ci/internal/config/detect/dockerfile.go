package detect

import (
	"path"
	"regexp"
	"slices"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

var (
	// from matches the start of a stage.
	from = regexp.MustCompile(`(?mi)^\s*FROM\s`)
	// expose matches a port of an EXPOSE instruction.
	expose = regexp.MustCompile(`(?mi)^\s*EXPOSE\s+([0-9]{1,5})(?:/tcp)?(?:\s|$)`)
)

// exposedPort returns the first port that a Dockerfile exposes in its last stage; 0 if it
// exposes none.
func exposedPort(dockerfile []byte) int {
	if stages := from.FindAllIndex(dockerfile, -1); len(stages) > 0 {
		dockerfile = dockerfile[stages[len(stages)-1][0]:]
	}
	if match := expose.FindSubmatch(dockerfile); match != nil {
		return portOf(string(match[1]))
	}
	return 0
}

// buildsGo matches a Dockerfile that compiles Go.
var buildsGo = regexp.MustCompile(`(?m)\bgo\s+(build|install|run)\b`)

// describeListener takes the port of a Go service from the Dockerfile beside it, if the
// code does not have it.
func (t *tree) describeListener(c *Candidate) {
	for _, folder := range slices.Compact([]string{path.Join(c.Path, c.Main), c.Path}) {
		name := path.Join(folder, platform.DefaultDockerfile)
		if !t.has[name] || c.Port != 0 && !c.ReadsPort {
			continue
		}
		if port := exposedPort(t.read(name)); port != 0 {
			c.Port = port
			c.because("%s exposes port %d", name, port)
		}
	}
	const lowest, usual = 1024, 8000
	switch {
	case c.Port == 0 && c.ReadsPort:
		c.Listen(usual)
	case c.Port != 0 && c.Port < lowest && (c.ReadsPort || c.PortFlag != ""):
		c.because("port %d would need root, so it gets %d", c.Port, usual)
		c.Listen(usual)
	}
}

// dockerfiles returns the folders with a Dockerfile.
func (t *tree) dockerfiles(mains []*Candidate) []*Candidate {
	var found []*Candidate
	for _, folder := range t.folders {
		name := path.Join(folder, platform.DefaultDockerfile)
		if !t.has[name] {
			continue
		}
		c := &Candidate{Name: t.nameOf(folder), Build: platform.Build{Kind: platform.Dockerfile, Path: folder}, HealthPath: "/"}
		c.because("%s", name)
		text := t.read(name)
		if c.Port = exposedPort(text); c.Port != 0 {
			c.because("it exposes port %d", c.Port)
			c.because("no path of a health check is known, so / must answer 200")
		} else {
			c.Not = "it exposes no port: a worker, or name the port"
		}
		n := slices.IndexFunc(mains, func(m *Candidate) bool {
			return m.Not == "" && (isWithin(folder, m.Path) && buildsGo.Match(text) || folder == m.Path || folder == path.Join(m.Path, m.Main))
		})
		if n >= 0 {
			c.Not = "the main package in " + mains[n].String() + " needs no Dockerfile (--kind dockerfile uses it)"
		}
		found = append(found, c)
	}
	return found
}
