package delivery

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/registry"
	"dagger/slipway/internal/vulnerability"
)

// scanJobs is how many images are scanned at a time; each is read whole.
const scanJobs = 2

// Scan says how images are scanned.
type Scan struct {
	Database   string
	FailOn     vulnerability.Severity
	Exceptions []vulnerability.Exception
}

// ScanImages scans images that are not published, without any account.
func ScanImages(ctx context.Context, images []image.Image, s Scan) (vulnerability.Report, error) {
	var subjects []vulnerability.Subject
	for _, img := range images {
		subjects = append(subjects, vulnerability.Subject{Service: img.Service, Index: img.Index})
	}
	return scan(ctx, vulnerability.Scanner{Go: vulnerability.Go{Database: s.Database}}, subjects, s)
}

// ScanPublished scans the images of a commit that the registry holds, and reads
// what the registry's own scan found.
func (d Delivery) ScanPublished(ctx context.Context, sha string, s Scan) (vulnerability.Report, error) {
	sha, err := d.version(ctx, Options{SHA: sha})
	if err != nil {
		return vulnerability.Report{}, err
	}
	images, missing, err := d.find(ctx, sha)
	if err != nil {
		return vulnerability.Report{}, awsauth.Explain(err)
	}
	if len(missing) > 0 {
		return vulnerability.Report{}, fmt.Errorf("the registry has no image of commit %s for %s: publish it first, or leave out --sha to scan what the tree builds", sha, strings.Join(missing, ", "))
	}
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return vulnerability.Report{}, awsauth.Explain(err)
	}
	defer from.Close()
	subjects, err := d.subjects(ctx, from, images)
	if err != nil {
		return vulnerability.Report{}, err
	}
	report, err := scan(ctx, vulnerability.Scanner{
		Go: vulnerability.Go{Database: s.Database}, ECR: &vulnerability.ECR{API: d.Account.ecr, Clock: clock.Real{}},
	}, subjects, s)
	return report, awsauth.Explain(err)
}

func (d Delivery) subjects(ctx context.Context, from *registry.Registry, images map[string]string) ([]vulnerability.Subject, error) {
	var subjects []vulnerability.Subject
	for _, service := range d.Services {
		digest, err := digestOf(images[service.Name])
		if err != nil {
			return nil, err
		}
		index, err := from.Index(ctx, service.Repository(), digest)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, vulnerability.Subject{Service: service.Name, Repository: service.Repository(), Index: index})
	}
	return subjects, nil
}

func scan(ctx context.Context, scanner vulnerability.Scanner, subjects []vulnerability.Subject, s Scan) (vulnerability.Report, error) {
	found := make([]vulnerability.Found, len(subjects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(scanJobs)
	for n, subject := range subjects {
		group.Go(func() (err error) {
			found[n], err = scanner.Scan(ctx, subject)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return vulnerability.Report{}, err
	}
	var images []vulnerability.Image
	var findings []vulnerability.Finding
	var notes []string
	for _, f := range found {
		images, findings, notes = append(images, f.Image), append(findings, f.Findings...), append(notes, f.Notes...)
	}
	return vulnerability.Judge(images, findings, s.Exceptions, s.FailOn, notes), nil
}
