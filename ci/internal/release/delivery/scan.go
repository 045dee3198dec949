package delivery

import (
	"context"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

// Scan is the configuration of an image scan.
type Scan struct {
	FailOn     supplychain.Severity
	Exceptions supplychain.Exceptions
}

func (s Scan) scanner(exec step.Executor, lock image.Lock) supplychain.Scanner {
	return supplychain.Scanner{Tools: supplychain.Tools{Exec: exec, Image: lock.Reference}, FailOn: s.FailOn, Exceptions: s.Exceptions}
}

// ScanImages scans images that are not published. It needs no account.
func ScanImages(ctx context.Context, exec step.Executor, lock image.Lock, images []image.Image, s Scan) (supplychain.Report, error) {
	var subjects []supplychain.Subject
	first := map[string]int{} // by repository, which services may share
	for _, img := range images {
		if n, shared := first[img.Service.Repository()]; shared {
			subjects[n].SharedBy = append(subjects[n].SharedBy, img.Service.Name)
			continue
		}
		first[img.Service.Repository()] = len(subjects)
		subjects = append(subjects, supplychain.Subject{Service: img.Service.Name, Index: img.Index})
	}
	return s.scanner(exec, lock).Scan(ctx, subjects...)
}

// ScanPublished scans the images of a commit in the registry, and reads the findings
// of the registry's own scan.
func (d Delivery) ScanPublished(ctx context.Context, sha string, s Scan) (supplychain.Report, error) {
	sha, err := d.commit(ctx, Options{SHA: sha})
	if err != nil {
		return supplychain.Report{}, err
	}
	images, err := d.requirePublished(ctx, sha, "publish it first, or scan the tree's images without --sha")
	if err != nil {
		return supplychain.Report{}, awsauth.Explain(err)
	}
	report, err := d.scan(ctx, images, s)
	return report, awsauth.Explain(err)
}

// scan scans images of the registry, given by reference.
func (d Delivery) scan(ctx context.Context, images map[string]string, s Scan) (supplychain.Report, error) {
	from, err := d.Account.registry().Login(ctx)
	if err != nil {
		return supplychain.Report{}, err
	}
	defer from.Close()
	subjects, err := d.subjects(ctx, from, images)
	if err != nil {
		return supplychain.Report{}, err
	}
	scanner := s.scanner(d.Exec, d.Lock)
	scanner.ECR = &supplychain.ECR{API: d.Account.ecr}
	if d.Account.registryID != "" {
		scanner.ECR.RegistryID = &d.Account.registryID
	}
	return scanner.Scan(ctx, subjects...)
}

func (d Delivery) subjects(ctx context.Context, from *registry.Registry, images map[string]string) ([]supplychain.Subject, error) {
	var subjects []supplychain.Subject
	first := map[string]int{} // by repository, which services may share
	for _, service := range d.Services {
		if n, shared := first[service.Repository()]; shared {
			subjects[n].SharedBy = append(subjects[n].SharedBy, service.Name)
			continue
		}
		first[service.Repository()] = len(subjects)
		digest, err := digestOf(images[service.Name])
		if err != nil {
			return nil, err
		}
		index, err := from.Index(ctx, service.Repository(), digest)
		if err != nil {
			return nil, err
		}
		subjects = append(subjects, supplychain.Subject{Service: service.Name, Repository: service.Repository(), Index: index})
	}
	return subjects, nil
}
