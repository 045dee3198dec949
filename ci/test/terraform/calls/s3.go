package calls

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/slipway-cd/slipway/ci/test/policy"
)

// configurations maps query fields to S3's actions on a bucket's configuration, without
// Get and Put. Deleting one needs Put, except for a policy.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
var configurations = map[string]string{
	"accelerate": "AccelerateConfiguration", "acl": "BucketAcl", "cors": "BucketCORS", "encryption": "EncryptionConfiguration",
	"lifecycle": "LifecycleConfiguration", "location": "BucketLocation", "logging": "BucketLogging", "object-lock": "BucketObjectLockConfiguration",
	"ownershipControls": "BucketOwnershipControls", "policy": "BucketPolicy", "publicAccessBlock": "BucketPublicAccessBlock",
	"replication": "ReplicationConfiguration", "requestPayment": "BucketRequestPayment", "tagging": "BucketTagging",
	"versioning": "BucketVersioning", "website": "BucketWebsite",
}

// s3 derives the action from method, path and query.
func (w *World) s3(c Call) ([]policy.Request, error) {
	bucket, key, object := strings.Cut(strings.TrimPrefix(c.URL.Path, "/"), "/")
	if object = object && key != ""; object {
		c.Action = map[string]string{
			http.MethodGet: "GetObject", http.MethodHead: "GetObject", http.MethodPut: "PutObject", http.MethodDelete: "DeleteObject",
		}[c.Method]
		if c.URL.Query().Has("versionId") {
			c.Action += "Version"
		}
		bucket += "/" + key
	} else {
		c.Action = onBucket(c)
	}
	if c.Action == "" {
		return nil, fmt.Errorf("what s3 %s %s needs is not known here: add it", c.Method, c.URL.RequestURI())
	}
	return []policy.Request{c.request("arn:aws:s3:::"+bucket, nil)}, nil
}

func onBucket(c Call) string {
	query := c.URL.Query()
	for field, noun := range configurations {
		if !query.Has(field) {
			continue
		}
		switch {
		case c.Method == http.MethodGet:
			return "Get" + noun
		case c.Method == http.MethodDelete && noun == "BucketPolicy":
			return "Delete" + noun
		default:
			return "Put" + noun
		}
	}
	switch {
	case query.Has("versions"):
		return "ListBucketVersions"
	case c.Method == http.MethodGet, c.Method == http.MethodHead:
		return "ListBucket"
	case c.Method == http.MethodPut:
		return "CreateBucket"
	case c.Method == http.MethodDelete:
		return "DeleteBucket"
	}
	return ""
}
