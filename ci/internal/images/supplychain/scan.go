package supplychain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.yaml.in/yaml/v3"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ExceptionsFile is the optional list of accepted findings, in Trivy's format.
// https://trivy.dev/latest/docs/configuration/filtering/#trivyignoreyaml
const ExceptionsFile = ".trivyignore.yaml"

// oldExceptionsFile is the former name of the exceptions file.
const oldExceptionsFile = "ci/vulnerabilities.json"

// Scanner scans images with Trivy and reads the findings of Amazon ECR for
// published ones.
type Scanner struct {
	Tools
	// ECR reads the findings for published images; if nil, they are not read.
	ECR *ECR
	// FailOn is the lowest severity that fails the scan.
	FailOn     Severity
	Exceptions Exceptions
}

// FindExceptions returns the path of the exceptions file of the source tree at dir,
// or "".
func FindExceptions(dir string) (string, error) {
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(oldExceptionsFile))); err == nil {
		return "", outcome.Usagef("%s is no longer read: list accepted vulnerabilities in %s, with id, statement and expired_at, and remove the old file", oldExceptionsFile, ExceptionsFile)
	}
	file := filepath.Join(dir, ExceptionsFile)
	if _, err := os.Stat(file); err != nil {
		return "", nil //nolint:nilerr // the file is optional
	}
	return file, nil
}

// Scan scans images on all their platforms.
func (s Scanner) Scan(ctx context.Context, subjects ...Subject) (Report, error) {
	if err := s.Require(ctx, tool.Trivy); err != nil {
		return Report{}, err
	}
	r := Report{Result: "succeeded", FailOn: s.FailOn, Images: []Image{}, Notes: []string{}}
	for _, subject := range subjects { // sequentially: they share Trivy's database
		if err := s.scanImage(ctx, subject, &r); err != nil {
			return Report{}, fmt.Errorf("scanning %s: %w", subject.Service, err)
		}
	}
	r.Findings = merge(r.Findings)
	if len(r.failing()) > 0 {
		r.Result = "failed"
	}
	return r, nil
}

// scanImage adds the findings of one image to r.
func (s Scanner) scanImage(ctx context.Context, subject Subject, r *Report) error {
	digest, err := subject.Index.Digest()
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	images, err := subject.platforms()
	if err != nil {
		return err
	}
	dir, cleanup, err := tempDir()
	if err != nil {
		return err
	}
	defer cleanup()
	if err := subject.writeLayout(dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ExceptionsFile), s.Exceptions.content, 0o644); err != nil {
		return fmt.Errorf("writing the exceptions for Trivy: %w", err)
	}
	scanned := Image{Service: subject.Service, Digest: digest.String(), Platforms: []string{}}
	for _, one := range images {
		found, err := s.trivy(ctx, one, dir)
		if err != nil {
			return err
		}
		if s.ECR != nil && subject.Repository != "" {
			inECR, note, err := s.ECR.Scan(ctx, subject.Repository, one.Digest.String())
			if err != nil {
				return err
			}
			if note != "" {
				r.Notes = append(r.Notes, note)
			}
			found = append(found, s.Exceptions.accept(inECR)...)
		}
		platform := one.Platform.String()
		scanned.Platforms = append(scanned.Platforms, platform)
		for _, f := range found {
			f.Service, f.Platforms = subject.Service, []string{platform}
			if f.Aliases == nil {
				f.Aliases = []string{} // not null in JSON
			}
			r.Findings = append(r.Findings, f)
		}
	}
	r.Images = append(r.Images, scanned)
	for _, name := range subject.SharedBy {
		scanned.Service = name
		r.Images = append(r.Images, scanned)
	}
	return nil
}

// trivy scans the image of one platform. Trivy updates its database itself and
// fails without one. Only the given exceptions file applies: a .trivyignore or
// trivy.yaml in the tree has no expiry dates, and would apply on the host only.
func (s Scanner) trivy(ctx context.Context, one v1.Descriptor, dir string) ([]Finding, error) {
	report := platformFileName(one) + ".trivy.json"
	args := []string{
		"image", "--input=" + step.Out + "/" + layoutFolder + "@" + one.Digest.String(), "--format=json", "--output=" + step.Out + "/" + report, "--scanners=vuln",
		"--exit-code=0", "--quiet", "--skip-version-check", "--disable-telemetry", "--config=" + os.DevNull, "--ignorefile=" + step.Out + "/" + ExceptionsFile, "--show-suppressed",
	}
	scan := step.Step{NoCache: true, Inputs: []string{layoutFolder, ExceptionsFile}, Intermediate: []string{layoutFolder}, Caches: []step.Cache{{Name: "trivy", Path: "/root/.cache/trivy"}}}
	if err := s.run(ctx, tool.Trivy, scan, dir, args...); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, report))
	if err != nil {
		return nil, fmt.Errorf("trivy wrote no report: %w", err)
	}
	return readTrivy(data)
}

// trivyFinding is a vulnerability in Trivy's JSON.
type trivyFinding struct {
	VulnerabilityID, PkgName, InstalledVersion, FixedVersion, Severity, Title, PrimaryURL string
	VendorIDs                                                                             []string
}

func (f trivyFinding) finding() Finding {
	return Finding{
		ID: f.VulnerabilityID, Aliases: f.VendorIDs, Severity: severity(f.Severity), Package: f.PkgName, Version: f.InstalledVersion,
		Fixed: f.FixedVersion, Title: f.Title, URL: f.PrimaryURL, Source: tool.Trivy.Name,
	}
}

// readTrivy parses the JSON report of trivy image.
func readTrivy(data []byte) ([]Finding, error) {
	var report struct {
		SchemaVersion int
		Results       []struct {
			Vulnerabilities              []trivyFinding
			ExperimentalModifiedFindings []struct {
				Type, Status, Statement string
				Finding                 trivyFinding
			}
		}
	}
	if err := json.Unmarshal(data, &report); err != nil || report.SchemaVersion == 0 {
		return nil, errors.Join(errors.New("reading Trivy's report: it is not a report"), err)
	}
	var findings []Finding
	for _, result := range report.Results {
		for _, f := range result.Vulnerabilities {
			findings = append(findings, f.finding())
		}
		for _, m := range result.ExperimentalModifiedFindings {
			if m.Type == "vulnerability" {
				accepted := m.Finding.finding()
				accepted.Exception = cmp.Or(m.Statement, "in "+ExceptionsFile)
				findings = append(findings, accepted)
			}
		}
	}
	return findings, nil
}

// Exceptions are the accepted findings, with the fields that are applied to ECR's
// findings.
type Exceptions struct {
	content         []byte // for Trivy
	Vulnerabilities []struct {
		ID, Statement string
		ExpiredAt     time.Time `yaml:"expired_at"`
		Paths, PURLs  []string  // Trivy's restrictions, which ECR's findings cannot be matched against
	}
}

// ReadExceptions parses the exceptions file; "" has none. An invalid file is a usage
// error.
func ReadExceptions(file string) (e Exceptions, err error) {
	if file == "" {
		return e, nil
	}
	if e.content, err = os.ReadFile(file); err != nil {
		return e, outcome.Usagef("reading the exceptions: %w", err)
	}
	if err := yaml.Unmarshal(e.content, &e); err != nil {
		return e, outcome.Usagef("%s: %w: it must have a list of vulnerabilities, each with id, statement and expired_at", filepath.Base(file), err)
	}
	for n, v := range e.Vulnerabilities {
		if v.ID == "" || v.Statement == "" || v.ExpiredAt.IsZero() {
			return e, outcome.Usagef("%s: vulnerability %d (%s) must have id, statement and expired_at: an exception needs a reason and an expiry date", filepath.Base(file), n+1, v.ID)
		}
	}
	return e, nil
}

// accept marks the findings of ECR that an unexpired exception accepts.
func (e Exceptions) accept(findings []Finding) []Finding {
	for n, f := range findings {
		for _, v := range e.Vulnerabilities {
			if (v.ID == f.ID || slices.Contains(f.Aliases, v.ID)) && time.Now().Before(v.ExpiredAt) && len(v.Paths)+len(v.PURLs) == 0 {
				findings[n].Exception = v.Statement
			}
		}
	}
	return findings
}
