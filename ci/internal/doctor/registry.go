package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/image"
)

// Registry is where the base images come from.
type Registry struct {
	// Dir is the root of the source tree.
	Dir     string
	Carrier http.RoundTripper
}

// Name fits Probe.
func (Registry) Name() string { return "registry" }

// Look knocks at each registry that the lock file names.
func (r Registry) Look(ctx context.Context) Finding {
	lock, err := image.ReadLock(r.Dir)
	if err != nil {
		return missing("", "not asked: the lock file does not name it")
	}
	var hosts []name.Registry
	for _, pin := range lock.Images {
		reference, err := name.ParseReference(pin.Reference)
		if err == nil && !slices.Contains(hosts, reference.Context().Registry) {
			hosts = append(hosts, reference.Context().Registry)
		}
	}
	slices.SortFunc(hosts, func(a, b name.Registry) int { return strings.Compare(a.RegistryStr(), b.RegistryStr()) })
	var group errgroup.Group
	names, problems := make([]string, len(hosts)), make([]string, len(hosts))
	for n, host := range hosts {
		names[n] = host.RegistryStr()
		group.Go(func() error {
			if err := knock(ctx, r.Carrier, host.Scheme()+"://"+host.RegistryStr()+"/v2/"); err != nil {
				problems[n] = fmt.Sprintf("%s cannot be reached: %s", host.RegistryStr(), reason(err))
			}
			return nil
		})
	}
	_ = group.Wait() // problems has what went wrong
	if problems = slices.DeleteFunc(problems, func(p string) bool { return p == "" }); len(problems) > 0 {
		return missing("is the network, or its proxy, there?", "%s", strings.Join(problems, "; "))
	}
	return ok("%s answers", strings.Join(names, ", "))
}

// Database is what known vulnerabilities are looked up in.
type Database struct {
	// URL is its address, https or file.
	URL     string
	Carrier http.RoundTripper
}

// Name fits Probe.
func (Database) Name() string { return "vulnerabilities" }

// Look asks for the database's index.
func (d Database) Look(ctx context.Context) Finding {
	const mend = "is the network, or its proxy, there? GOVULNDB names another database"
	address, err := url.Parse(d.URL)
	if err != nil {
		return missing(mend, "%q is no address of a database", d.URL)
	}
	if address.Scheme == "file" {
		if _, err := os.Stat(filepath.FromSlash(address.Path)); err != nil {
			return missing("GOVULNDB names another database", "there is no database at %s", address.Path)
		}
		return ok("%s is there", d.URL)
	}
	if err := knock(ctx, d.Carrier, d.URL+"/index/db.json"); err != nil {
		return missing(mend, "%s cannot be reached: %s", d.URL, reason(err))
	}
	return ok("%s answers", d.URL)
}

// knock tells whether somebody answers at an address; what, does not matter but
// that it is no failure of theirs.
func knock(ctx context.Context, carrier http.RoundTripper, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := carrier.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}
