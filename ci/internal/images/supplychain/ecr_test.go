package supplychain_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

// response is a response of DescribeImageScanFindings.
type response struct {
	out *ecr.DescribeImageScanFindingsOutput
	err error
}

// fakeECR returns its responses in order, then repeats the last one.
type fakeECR struct {
	pages  []response
	calls  int
	tokens []string
	onPush bool
	broken error
}

func (f *fakeECR) DescribeImageScanFindings(_ context.Context, in *ecr.DescribeImageScanFindingsInput, _ ...func(*ecr.Options)) (*ecr.DescribeImageScanFindingsOutput, error) {
	time.Sleep(time.Millisecond) // no answer is there at once: the SDK's waiter relies on it
	f.tokens = append(f.tokens, aws.ToString(in.NextToken))
	a := f.pages[min(f.calls, len(f.pages)-1)]
	f.calls++
	return a.out, a.err
}

func (f *fakeECR) DescribeRepositories(context.Context, *ecr.DescribeRepositoriesInput, ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error) {
	return &ecr.DescribeRepositoriesOutput{Repositories: []types.Repository{
		{ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: f.onPush}},
	}}, f.broken
}

func status(s types.ScanStatus, description string) response {
	return response{out: &ecr.DescribeImageScanFindingsOutput{ImageScanStatus: &types.ImageScanStatus{Status: s, Description: &description}}}
}

// complete is a page with one finding of Alpine's musl.
func complete(severity, next string) response {
	a := status(types.ScanStatusComplete, "The scan was completed successfully.")
	if next != "" {
		a.out.NextToken = &next
	}
	a.out.ImageScanFindings = &types.ImageScanFindings{Findings: []types.ImageScanFinding{{
		Name: aws.String("CVE-2026-" + severity), Severity: types.FindingSeverity(severity), Uri: aws.String("https://example.com"),
		Attributes: []types.Attribute{
			{Key: aws.String("package_name"), Value: aws.String("musl")},
			{Key: aws.String("package_version"), Value: aws.String("1.2.5-r9")},
			{Key: aws.String("CVSS3_SCORE"), Value: aws.String("9.8")},
		},
	}}}
	return a
}

func TestECR(t *testing.T) {
	none := response{err: &types.ScanNotFoundException{}}
	tests := map[string]struct {
		api      fakeECR
		findings []supplychain.Severity
		note     string
		err      string
		waits    bool
	}{
		"one page":                        {api: fakeECR{pages: []response{complete("HIGH", "")}}, findings: []supplychain.Severity{supplychain.High}},
		"pages":                           {api: fakeECR{pages: []response{complete("CRITICAL", "2"), complete("CRITICAL", "2"), complete("UNDEFINED", "3"), complete("INFORMATIONAL", "")}}, findings: []supplychain.Severity{supplychain.Critical, supplychain.Unknown, supplychain.Informational}},
		"nothing found":                   {api: fakeECR{pages: []response{status(types.ScanStatusComplete, "")}}},
		"pending, then done":              {api: fakeECR{pages: []response{status(types.ScanStatusPending, ""), {out: &ecr.DescribeImageScanFindingsOutput{}}, status(types.ScanStatusInProgress, ""), complete("LOW", "")}}, findings: []supplychain.Severity{supplychain.Low}, waits: true},
		"not begun, then done":            {api: fakeECR{pages: []response{none, complete("MEDIUM", "")}, onPush: true}, findings: []supplychain.Severity{supplychain.Medium}, waits: true},
		"never done":                      {api: fakeECR{pages: []response{status(types.ScanStatusInProgress, "")}}, err: "ECR did not finish its scan of repo@sha256:1 within 5m0s", waits: true},
		"the repository does not scan":    {api: fakeECR{pages: []response{none}}, note: "repository repo does not scan on push"},
		"an unknown scan configuration":   {api: fakeECR{pages: []response{none}, broken: errors.New("denied")}, err: "reading the scan configuration of ECR repository repo: denied"},
		"unsupported":                     {api: fakeECR{pages: []response{status(types.ScanStatusUnsupportedImage, "no distribution")}}, note: "ECR cannot scan repo@sha256:1: UNSUPPORTED_IMAGE no distribution"},
		"unsupported, reported as failed": {api: fakeECR{pages: []response{status(types.ScanStatusFailed, "UnsupportedImageError: The operating system and/or package manager are not supported.")}}, note: "UnsupportedImageError"},
		"failed":                          {api: fakeECR{pages: []response{status(types.ScanStatusFailed, "broken")}}, err: "ECR has no findings for repo@sha256:1: FAILED broken: start its scan again"},
		"too old":                         {api: fakeECR{pages: []response{status(types.ScanStatusScanEligibilityExpired, "")}}, err: "SCAN_ELIGIBILITY_EXPIRED"},
		"denied":                          {api: fakeECR{pages: []response{{err: errors.New("denied")}}}, err: "reading ECR's scan of repo@sha256:1: denied"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				findings, note, err := supplychain.ECR{API: &tt.api}.Scan(t.Context(), "repo", "sha256:1")
				require.Equal(t, tt.waits, time.Since(start) > time.Second, "whether it was waited")
				if tt.err != "" {
					require.ErrorContains(t, err, tt.err)
					return
				}
				require.NoError(t, err)
				if tt.note == "" {
					require.Empty(t, note)
				}
				require.Contains(t, note, tt.note)
				var severities []supplychain.Severity
				for _, f := range findings {
					severities = append(severities, f.Severity)
					require.Equal(t, "musl", f.Package)
					require.Equal(t, "1.2.5-r9", f.Version)
				}
				require.Equal(t, tt.findings, severities)
			})
		})
	}
	pages := fakeECR{pages: []response{complete("HIGH", ""), complete("HIGH", "2"), complete("LOW", "")}} // the first is the waiter's
	_, _, err := supplychain.ECR{API: &pages}.Scan(t.Context(), "repo", "sha256:1")
	require.NoError(t, err)
	require.Equal(t, []string{"", "", "2"}, pages.tokens)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("told to stop"))
		defer cancel()
		_, _, err := supplychain.ECR{API: &fakeECR{pages: []response{status(types.ScanStatusPending, "")}}}.Scan(ctx, "repo", "sha256:1")
		require.ErrorContains(t, err, "waiting for ECR's scan of repo@sha256:1: told to stop")
	})
}

func TestEnhanced(t *testing.T) {
	a := status(types.ScanStatusActive, "")
	a.out.ImageScanFindings = &types.ImageScanFindings{EnhancedFindings: []types.EnhancedImageScanFinding{
		{Title: aws.String("CVE-2026-1 - musl"), Severity: aws.String("UNTRIAGED"), PackageVulnerabilityDetails: &types.PackageVulnerabilityDetails{
			VulnerabilityId: aws.String("CVE-2026-1"), RelatedVulnerabilities: []string{"GHSA-1"},
			VulnerablePackages: []types.VulnerablePackage{
				{Name: aws.String("musl"), Version: aws.String("1.2.5"), FixedInVersion: aws.String("1.2.6")}, {Name: aws.String("musl-utils"), Version: aws.String("1.2.5")},
			},
		}},
		{Title: aws.String("CVE-2026-2"), Severity: aws.String("LOW"), PackageVulnerabilityDetails: &types.PackageVulnerabilityDetails{VulnerabilityId: aws.String("CVE-2026-2")}},
		{Title: aws.String("a setting"), Severity: aws.String("MEDIUM")},
	}}
	findings, note, err := supplychain.ECR{API: &fakeECR{pages: []response{a}}}.Scan(t.Context(), "repo", "sha256:1")
	require.NoError(t, err)
	require.Empty(t, note)
	require.Equal(t, []supplychain.Finding{
		{ID: "CVE-2026-1", Aliases: []string{"GHSA-1"}, Severity: supplychain.Unknown, Package: "musl", Version: "1.2.5", Fixed: "1.2.6", Title: "CVE-2026-1 - musl", Source: "ecr"},
		{ID: "CVE-2026-1", Aliases: []string{"GHSA-1"}, Severity: supplychain.Unknown, Package: "musl-utils", Version: "1.2.5", Title: "CVE-2026-1 - musl", Source: "ecr"},
		{ID: "CVE-2026-2", Severity: supplychain.Low, Title: "CVE-2026-2", Source: "ecr"},
		{ID: "a setting", Severity: supplychain.Medium, Title: "a setting", Source: "ecr"},
	}, findings)
}
