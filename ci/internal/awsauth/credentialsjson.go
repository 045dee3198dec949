package awsauth

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// givenCredentials are credentials from [Options.CredentialsJSON], which cannot be
// renewed.
type givenCredentials struct{ credentials aws.Credentials }

// Retrieve implements aws.CredentialsProvider.
func (e givenCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	if e.credentials.Expired() {
		return aws.Credentials{}, expiredError(e.credentials.Expires)
	}
	return e.credentials, nil
}

func expiredError(at time.Time) error {
	return outcome.Usagef("the given AWS credentials expired at %s: renew the login (aws sso login) and export them again", at.UTC().Format(time.RFC3339))
}

// parseCredentialsJSON parses the output of a credential process. Its errors do not
// contain any of the document, which is secret.
// https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sourcing-external.html
func parseCredentialsJSON(document string) (aws.CredentialsProvider, error) {
	var parsed struct {
		Version         int
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		AccountID       string `json:"AccountId"`
		Expiration      *time.Time
	}
	const want = "pass the output of `aws configure export-credentials --format process`"
	if encoding := encodingError([]byte(document)); encoding == "is in UTF-16" {
		return nil, outcome.Usagef("the JSON of the given AWS credentials %s: save it as UTF-8", encoding)
	}
	document = strings.TrimPrefix(document, "\ufeff")
	if err := json.Unmarshal([]byte(document), &parsed); err != nil {
		return nil, outcome.Usagef("the given AWS credentials are not the JSON of a credential process: %s", want)
	}
	switch {
	case parsed.Version != 1:
		return nil, outcome.Usagef("the given AWS credentials have version %d where 1 is known: %s", parsed.Version, want)
	case parsed.AccessKeyID == "" || parsed.SecretAccessKey == "":
		return nil, outcome.Usagef("the given AWS credentials lack AccessKeyId or SecretAccessKey: %s", want)
	}
	credentials := aws.Credentials{
		AccessKeyID: parsed.AccessKeyID, SecretAccessKey: parsed.SecretAccessKey, SessionToken: parsed.SessionToken,
		AccountID: parsed.AccountID, Source: "given",
	}
	if parsed.Expiration != nil {
		credentials.CanExpire, credentials.Expires = true, *parsed.Expiration
	}
	if err := checkCredentials(credentials); err != nil {
		return nil, err
	}
	if credentials.Expired() {
		return nil, expiredError(credentials.Expires)
	}
	return givenCredentials{credentials}, nil
}
