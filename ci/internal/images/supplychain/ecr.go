package supplychain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// ECRAPI is the part of the ECR API that is used.
type ECRAPI interface {
	ecr.DescribeImageScanFindingsAPIClient
	ecr.DescribeRepositoriesAPIClient
}

// scanTimeout limits the wait for a scan. A basic scan takes about a minute after a
// push.
const scanTimeout = 5 * time.Minute

// ECR reads the findings of Amazon ECR's own scan.
type ECR struct {
	API ECRAPI
	// RegistryID is the AWS account of the registry; nil means that of the credentials.
	RegistryID *string
}

// Scan returns the findings for one platform's image: ECR does not scan indexes.
// note is why there are none, if that is not an error.
func (e ECR) Scan(ctx context.Context, repository, digest string) (findings []Finding, note string, err error) {
	name := repository + "@" + digest
	in := &ecr.DescribeImageScanFindingsInput{RegistryId: e.RegistryID, RepositoryName: &repository, ImageId: &types.ImageIdentifier{ImageDigest: &digest}}
	var final error // stops the waiter
	waiter := ecr.NewImageScanCompleteWaiter(e.API, func(o *ecr.ImageScanCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 2*time.Second, 15*time.Second
		// The SDK's waiter does not handle continuous scanning (ACTIVE) or images
		// that are never scanned.
		o.Retryable = func(ctx context.Context, _ *ecr.DescribeImageScanFindingsInput, out *ecr.DescribeImageScanFindingsOutput, failed error) (again bool, err error) {
			if none := (*types.ScanNotFoundException)(nil); errors.As(failed, &none) {
				note, again, final = e.scanOnPush(ctx, repository)
			} else if failed != nil {
				final = fmt.Errorf("reading ECR's scan of %s: %w", name, failed)
			} else {
				note, again, final = checkStatus(out.ImageScanStatus, name)
			}
			return again, final
		}
	})
	switch err := waiter.Wait(ctx, in, scanTimeout); {
	case final != nil:
		return nil, "", final
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("waiting for ECR's scan of %s: %w", name, context.Cause(ctx))
	case err != nil:
		return nil, "", fmt.Errorf("ECR did not finish its scan of %s within %s: scan again later", name, scanTimeout)
	case note != "":
		return nil, note, nil
	}
	for pages := ecr.NewDescribeImageScanFindingsPaginator(e.API, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("reading ECR's scan of %s: %w", name, err)
		}
		if page.ImageScanFindings == nil {
			continue
		}
		for _, f := range page.ImageScanFindings.Findings {
			findings = append(findings, basicFinding(f))
		}
		for _, f := range page.ImageScanFindings.EnhancedFindings {
			findings = append(findings, enhancedFindings(f)...)
		}
	}
	return findings, "", nil
}

// scanOnPush distinguishes a repository that does not scan on push from one whose
// scan has not started yet.
func (e ECR) scanOnPush(ctx context.Context, repository string) (note string, again bool, err error) {
	out, err := e.API.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: e.RegistryID, RepositoryNames: []string{repository}})
	if err != nil {
		return "", false, fmt.Errorf("reading the scan configuration of ECR repository %s: %w", repository, err)
	}
	for _, r := range out.Repositories {
		if r.ImageScanningConfiguration != nil && r.ImageScanningConfiguration.ScanOnPush {
			return "", true, nil
		}
	}
	return fmt.Sprintf("repository %s does not scan on push, so ECR has no findings for its images", repository), false, nil
}

// checkStatus reports whether the findings are available.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanStatus.html
func checkStatus(status *types.ImageScanStatus, name string) (note string, again bool, err error) {
	if status == nil {
		return "", true, nil
	}
	text := strings.TrimSpace(string(status.Status) + " " + aws.ToString(status.Description))
	switch status.Status {
	case types.ScanStatusComplete, types.ScanStatusActive:
		return "", false, nil
	case types.ScanStatusPending, types.ScanStatusInProgress:
		return "", true, nil
	}
	if status.Status == types.ScanStatusUnsupportedImage || strings.Contains(text, "UnsupportedImage") { // basic scanning reports FAILED
		return fmt.Sprintf("ECR cannot scan %s: %s", name, text), false, nil
	}
	return "", false, fmt.Errorf("ECR has no findings for %s: %s: start its scan again (aws ecr start-image-scan)", name, text)
}

func basicFinding(f types.ImageScanFinding) Finding {
	made := Finding{ID: aws.ToString(f.Name), Severity: severity(string(f.Severity)), Title: aws.ToString(f.Description), URL: aws.ToString(f.Uri), Source: "ecr"}
	for _, a := range f.Attributes {
		switch aws.ToString(a.Key) {
		case "package_name":
			made.Package = aws.ToString(a.Value)
		case "package_version":
			made.Version = aws.ToString(a.Value)
		}
	}
	return made
}

// enhancedFindings returns a finding for each package that Amazon Inspector lists.
func enhancedFindings(f types.EnhancedImageScanFinding) (all []Finding) {
	made := Finding{ID: aws.ToString(f.Title), Severity: severity(aws.ToString(f.Severity)), Title: aws.ToString(f.Title), Source: "ecr"}
	details := f.PackageVulnerabilityDetails
	if details == nil {
		return []Finding{made}
	}
	made.ID, made.URL, made.Aliases = aws.ToString(details.VulnerabilityId), aws.ToString(details.SourceUrl), details.RelatedVulnerabilities
	if len(details.VulnerablePackages) == 0 {
		return []Finding{made}
	}
	for _, p := range details.VulnerablePackages {
		made.Package, made.Version, made.Fixed = aws.ToString(p.Name), aws.ToString(p.Version), aws.ToString(p.FixedInVersion)
		all = append(all, made)
	}
	return all
}
