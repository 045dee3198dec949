package awsauth

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/report/outcome"
)

// exported are credentials that were handed in, good until they expire: there
// is nobody to renew them.
type exported struct{ credentials aws.Credentials }

// Retrieve fits aws.CredentialsProvider.
func (e exported) Retrieve(context.Context) (aws.Credentials, error) {
	if e.credentials.Expired() {
		return aws.Credentials{}, errExpiredExport(e.credentials.Expires)
	}
	return e.credentials, nil
}

func errExpiredExport(at time.Time) error {
	return outcome.Usagef("the AWS credentials that were handed in expired at %s: renew the login (aws sso login) and export them again", at.UTC().Format(time.RFC3339))
}

// parseExported reads the format of a credential process. Its errors repeat
// nothing of the document, which is a secret.
// https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-sourcing-external.html
func parseExported(document string) (aws.CredentialsProvider, error) {
	var said struct {
		Version         int
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		AccountID       string `json:"AccountId"`
		Expiration      *time.Time
	}
	const want = "hand in what `aws configure export-credentials --format process` prints"
	if encoding := foreign([]byte(document)); encoding == "is in UTF-16" {
		return nil, outcome.Usagef("the JSON of the AWS credentials that were handed in %s: save it as UTF-8", encoding)
	}
	document = strings.TrimPrefix(document, "\ufeff")
	if err := json.Unmarshal([]byte(document), &said); err != nil {
		return nil, outcome.Usagef("the AWS credentials that were handed in are not the JSON of a credential process: %s", want)
	}
	switch {
	case said.Version != 1:
		return nil, outcome.Usagef("the AWS credentials that were handed in have version %d where 1 is known: %s", said.Version, want)
	case said.AccessKeyID == "" || said.SecretAccessKey == "":
		return nil, outcome.Usagef("the AWS credentials that were handed in lack AccessKeyId or SecretAccessKey: %s", want)
	}
	credentials := aws.Credentials{
		AccessKeyID: said.AccessKeyID, SecretAccessKey: said.SecretAccessKey, SessionToken: said.SessionToken,
		AccountID: said.AccountID, Source: "handed in",
	}
	if said.Expiration != nil {
		credentials.CanExpire, credentials.Expires = true, *said.Expiration
	}
	if err := checkCredentials(credentials); err != nil {
		return nil, err
	}
	if credentials.Expired() {
		return nil, errExpiredExport(credentials.Expires)
	}
	return exported{credentials}, nil
}
