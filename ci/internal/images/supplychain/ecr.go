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

// ECRAPI is what is asked of Amazon ECR.
type ECRAPI interface {
	DescribeImageScanFindings(context.Context, *ecr.DescribeImageScanFindingsInput, ...func(*ecr.Options)) (*ecr.DescribeImageScanFindingsOutput, error)
	DescribeRepositories(context.Context, *ecr.DescribeRepositoriesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error)
}

// patience is how long a scan is waited for; the basic one takes about a minute after
// a push.
const patience = 5 * time.Minute

// ECR reads what Amazon ECR's own scan found.
type ECR struct{ API ECRAPI }

// Scan reads the findings of one image, of one platform: ECR does not scan
// indexes. note says why there are none where that is no error.
func (e ECR) Scan(ctx context.Context, repository, digest string) (findings []Finding, note string, err error) {
	in := &ecr.DescribeImageScanFindingsInput{RepositoryName: &repository, ImageId: &types.ImageIdentifier{ImageDigest: &digest}}
	waiter := ecr.NewImageScanCompleteWaiter(e.API, func(o *ecr.ImageScanCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 2*time.Second, 15*time.Second
		// The SDK's own judgement knows neither what is scanned for ever (ACTIVE) nor
		// what never will be.
		o.Retryable = func(ctx context.Context, _ *ecr.DescribeImageScanFindingsInput, out *ecr.DescribeImageScanFindingsOutput, failed error) (again bool, err error) {
			note, again, err = e.judge(ctx, repository, digest, out, failed)
			return again, err
		}
	})
	var failed *finalError
	switch err := waiter.Wait(ctx, in, patience); {
	case errors.As(err, &failed):
		return nil, "", failed.error
	case ctx.Err() != nil:
		return nil, "", fmt.Errorf("waiting for ECR's scan of %s@%s: %w", repository, digest, context.Cause(ctx))
	case err != nil:
		return nil, "", fmt.Errorf("ECR has not finished its scan of %s@%s within %s: scan again in a while", repository, digest, patience)
	case note != "":
		return nil, note, nil
	}
	for pages := ecr.NewDescribeImageScanFindingsPaginator(e.API, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("asking ECR for its scan of %s@%s: %w", repository, digest, err)
		}
		if page.ImageScanFindings == nil {
			continue
		}
		for _, f := range page.ImageScanFindings.Findings {
			findings = append(findings, basic(f))
		}
		for _, f := range page.ImageScanFindings.EnhancedFindings {
			findings = append(findings, enhanced(f)...)
		}
	}
	return findings, "", nil
}

// finalError is an error that waiting does not mend.
type finalError struct{ error }

// judge tells whether the scan is there, or will be.
func (e ECR) judge(ctx context.Context, repository, digest string, out *ecr.DescribeImageScanFindingsOutput, failed error) (note string, again bool, err error) {
	var none *types.ScanNotFoundException
	switch {
	case errors.As(failed, &none):
		return e.unscanned(ctx, repository)
	case failed != nil:
		return "", false, &finalError{fmt.Errorf("asking ECR for its scan of %s@%s: %w", repository, digest, failed)}
	case out.ImageScanStatus == nil:
		return "", true, nil
	}
	return judgeStatus(out.ImageScanStatus, repository, digest)
}

// unscanned tells a repository that does not scan from one whose scan has not
// begun yet.
func (e ECR) unscanned(ctx context.Context, repository string) (note string, again bool, err error) {
	out, err := e.API.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{repository}})
	if err != nil {
		return "", false, &finalError{fmt.Errorf("asking ECR whether repository %s scans: %w", repository, err)}
	}
	for _, r := range out.Repositories {
		if r.ImageScanningConfiguration != nil && r.ImageScanningConfiguration.ScanOnPush {
			return "", true, nil
		}
	}
	return fmt.Sprintf("repository %s does not scan on push, so ECR knows nothing of its images", repository), false, nil
}

// judgeStatus tells whether there are findings to read.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageScanStatus.html
func judgeStatus(status *types.ImageScanStatus, repository, digest string) (note string, again bool, err error) {
	said := strings.TrimSpace(string(status.Status) + " " + aws.ToString(status.Description))
	switch {
	case status.Status == types.ScanStatusComplete, status.Status == types.ScanStatusActive:
		return "", false, nil
	case status.Status == types.ScanStatusPending, status.Status == types.ScanStatusInProgress:
		return "", true, nil
	case status.Status == types.ScanStatusUnsupportedImage,
		status.Status == types.ScanStatusFailed && strings.Contains(said, "UnsupportedImage"): // an image without a distribution, in basic scanning
		return fmt.Sprintf("ECR cannot scan %s@%s: %s", repository, digest, said), false, nil
	}
	return "", false, &finalError{fmt.Errorf("ECR has no findings for %s@%s: %s: start its scan again (aws ecr start-image-scan)", repository, digest, said)}
}

// severities are Amazon's.
var severities = map[string]Severity{
	"CRITICAL": Critical, "HIGH": High, "MEDIUM": Medium, "LOW": Low, "INFORMATIONAL": Informational,
}

func severity(amazons string) Severity {
	if s, ok := severities[amazons]; ok {
		return s
	}
	return Unknown // UNDEFINED, UNTRIAGED
}

func basic(f types.ImageScanFinding) Finding {
	made := Finding{
		ID: aws.ToString(f.Name), Severity: severity(string(f.Severity)), Title: aws.ToString(f.Description), URL: aws.ToString(f.Uri),
		Source: "ecr",
	}
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

// enhanced makes a finding of each package that Amazon Inspector names.
func enhanced(f types.EnhancedImageScanFinding) []Finding {
	made := Finding{
		ID: aws.ToString(f.Title), Severity: severity(aws.ToString(f.Severity)), Title: aws.ToString(f.Title), Source: "ecr",
	}
	details := f.PackageVulnerabilityDetails
	if details == nil {
		return []Finding{made}
	}
	made.ID, made.URL, made.Aliases = aws.ToString(details.VulnerabilityId), aws.ToString(details.SourceUrl), details.RelatedVulnerabilities
	var all []Finding
	for _, p := range details.VulnerablePackages {
		one := made
		one.Package, one.Version, one.Fixed = aws.ToString(p.Name), aws.ToString(p.Version), aws.ToString(p.FixedInVersion)
		all = append(all, one)
	}
	return all
}
