package lint

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

// nginxFile is the path of a site's configuration in its service's folder.
const nginxFile = "nginx/nginx.conf"

// NginxStep returns the step that checks a site's configuration with Nginx itself.
func NginxStep(service platform.Service, image string) step.Step {
	return step.Step{
		Name:    "nginx " + service.Name,
		Image:   image,
		Dir:     service.Path,
		Args:    tool.Nginx.Command("-p", ".", "-c", nginxFile, "-e", "stderr", "-t", "-q"),
		Include: []string{service.Path},
	}
}

func nginxCheck(p pathMapper, service platform.Service, image string) Check {
	s := NginxStep(service, image)
	return check(Nginx, service.Name, invocation{tool.Nginx, s, func(_ string, result step.Result) ([]Finding, error) {
		// The configuration includes files of the Nginx image; a host may have them
		// elsewhere.
		if file := nginxMissingFile.FindStringSubmatch(result.Stderr); file != nil {
			return nil, &tool.MissingError{Tool: tool.Nginx.Name, Reason: "this machine's nginx has no " + file[1] + ", which the image has: run it with Dagger"}
		}
		findings := readNginx(p, s.Dir, result.Stderr)
		if result.ExitCode != 0 && len(findings) == 0 {
			return nil, toolError(s, result, nil)
		}
		return findings, nil
	}})
}

var (
	nginxLine        = regexp.MustCompile(`\[(warn|error|crit|alert|emerg)\] (?:\d+#\d+: )?(.+?)(?: in (\S+):(\d+))?$`)
	nginxMissingFile = regexp.MustCompile(`open\(\) "(/etc/nginx/(?:mime\.types|(?:fastcgi|scgi|uwsgi)_params))" failed \(2:`)
)

// readNginx parses the log of nginx -t, which stops at the first error but not at
// warnings.
func readNginx(p pathMapper, dir, log string) []Finding {
	var findings []Finding
	for line := range strings.SplitSeq(log, "\n") {
		m := nginxLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		f := Finding{Tool: tool.Nginx.Name, File: path.Join(dir, nginxFile), Rule: m[1], Text: m[2]}
		if m[3] != "" {
			f.File = p.relative(dir, m[3])
			f.Line, _ = strconv.Atoi(m[4]) // digits, by the expression
		}
		findings = append(findings, f)
	}
	return findings
}
