package awsauth

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// formError describes what is wrong with the format of a value, or returns "":
// leftovers of copying, files and shells. A loose value may contain spaces. The
// value is never repeated.
func formError(value string, loose bool) string {
	const quotes = "\"'`“”‘’"
	switch {
	case strings.HasPrefix(value, "\ufeff"):
		return "begins with a byte order mark"
	case strings.TrimRight(value, "\r\n") != value:
		return "ends with a line break"
	case strings.ContainsAny(value, "\r\n"):
		return "has a line break in it"
	case strings.TrimLeftFunc(value, unicode.IsSpace) != value:
		return "begins with a space"
	case strings.TrimRightFunc(value, unicode.IsSpace) != value:
		return "ends with a space"
	case strings.Trim(value, quotes) != value:
		return "has quotes around it"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "has a control character in it"
	case !loose && strings.ContainsFunc(value, unicode.IsSpace):
		return "has a space in it"
	case !loose && strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }):
		return "has an invalid character"
	}
	return ""
}

// checkForm finds malformed values, for which the SDK would fail later with an
// unrelated error.
func (o Options) checkForm() error {
	given := [][2]string{
		{"the given region", o.Region},
		{"the given role", o.Role},
		{"the given endpoint", o.Endpoint},
		{"the URL for the job's OIDC token", o.TokenURL},
		{"the token for the job's OIDC token request", o.Token},
	}
	names := []string{
		"AWS_REGION", "AWS_DEFAULT_REGION",
		"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
	}
	if o.CredentialsJSON == "" {
		names = append(names, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
	}
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_ENDPOINT_URL") {
			names = append(names, name)
		}
	}
	words := []string{"SLIPWAY_ROLE_ARN", "AWS_ROLE_ARN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE"}
	for _, name := range append(names, words...) {
		given = append(given, [2]string{name, os.Getenv(name)})
	}
	for _, in := range given {
		if found := formError(in[1], slices.Contains(words, in[0])); found != "" {
			return outcome.Usagef("%s %s: set it again without it", in[0], found)
		}
	}
	return nil
}

// checkCredentials is like checkForm for credentials of any source.
func checkCredentials(c aws.Credentials) error {
	for _, in := range [][2]string{{"AccessKeyId", c.AccessKeyID}, {"SecretAccessKey", c.SecretAccessKey}, {"SessionToken", c.SessionToken}} {
		if found := formError(in[1], false); found != "" {
			return outcome.Usagef("the %s of the AWS credentials (%s) %s: set it again without it", in[0], c.Source, found)
		}
	}
	return nil
}

// checkFiles finds configuration files in an encoding that AWS's tools do not read:
// the SDK ignores their content.
func checkFiles() error {
	for _, file := range []string{configFile(), credentialsFile()} {
		f, err := os.Open(file)
		if err != nil {
			continue // the SDK reports it
		}
		head, _ := io.ReadAll(io.LimitReader(f, 1024)) // as above
		f.Close()
		if encoding := encodingError(head); encoding != "" {
			return outcome.Usagef("%s %s: save it as UTF-8 without byte order mark", file, encoding)
		}
	}
	return nil
}

// encodingError describes an encoding other than plain UTF-8, or returns "".
func encodingError(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		return "begins with a byte order mark"
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")), bytes.IndexByte(head, 0) >= 0:
		return "is in UTF-16"
	}
	return ""
}

func credentialsFile() string {
	return cmp.Or(os.Getenv("AWS_SHARED_CREDENTIALS_FILE"), config.DefaultSharedCredentialsFilename())
}
