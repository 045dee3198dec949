package rollout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Tags of the revisions that a release registers. They are its only state.
const (
	TagSHA     = "slipway:sha"     // the commit that the image was built from
	TagDigest  = "slipway:digest"  // the image's digest
	TagRelease = "slipway:release" // the release's id, see [releaseID]
	TagFrom    = "slipway:from"    // ARN of the previous revision
	TagSize    = "slipway:size"    // how many services the release changes
	TagRaised  = "slipway:raised"  // desired count that a first release set; absent otherwise
	TagCopy    = "slipway:copy"    // ARN of the deregistered revision that this one copies; absent otherwise
)

// TagEnvironment is the environment's name, if the source tree has several. It is for people
// and cost reports: no release depends on it, so that a revision without it counts the same.
const TagEnvironment = "slipway:environment"

// Tags of a preview, on its revisions and its other resources.
const (
	TagPreview = "slipway:preview" // the number of the pull request
	TagExpires = "slipway:expires" // RFC 3339
)

// releaseTags are the parsed tags of a revision.
type releaseTags struct {
	sha, digest, release, from, copyOf string
	size, raised                       int
}

func parseTags(tags []types.Tag) releaseTags {
	values := map[string]string{}
	for _, tag := range tags {
		values[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	size, _ := strconv.Atoi(values[TagSize]) // an invalid tag counts as absent
	raised, _ := strconv.Atoi(values[TagRaised])
	return releaseTags{
		sha: values[TagSHA], digest: values[TagDigest], release: values[TagRelease], from: values[TagFrom],
		copyOf: values[TagCopy], size: size, raised: raised,
	}
}

func (t releaseTags) tags() []types.Tag {
	var tags []types.Tag
	for _, pair := range [][2]string{
		{TagSHA, t.sha},
		{TagDigest, t.digest},
		{TagRelease, t.release},
		{TagFrom, t.from},
		{TagSize, positive(t.size)},
		{TagRaised, positive(t.raised)},
		{TagCopy, t.copyOf},
	} {
		if pair[1] != "" {
			tags = append(tags, types.Tag{Key: aws.String(pair[0]), Value: aws.String(pair[1])})
		}
	}
	return tags
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// asCopyOf returns the tags of a copy of a deregistered revision: the original's, so
// that the copy counts as it.
func (t releaseTags) asCopyOf(original string) releaseTags {
	t.copyOf = cmp.Or(t.copyOf, original)
	return t
}

// maxTags is how many tags a revision may have.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
const maxTags = 50

// withForeign adds the environment's name, and the tags that others, such as Terraform, have
// set: cost allocation and policies may depend on them. Those beyond the limit are dropped, the last by name first.
// Keys that begin with "aws:" are reserved.
func (t releaseTags) withForeign(environment string, others []types.Tag) (tags []types.Tag, dropped []string) {
	tags = t.tags()
	if environment != "" {
		tags = append(tags, types.Tag{Key: aws.String(TagEnvironment), Value: &environment})
	}
	for _, tag := range sorted(others, func(tag types.Tag) string { return aws.ToString(tag.Key) }) {
		key := aws.ToString(tag.Key)
		switch {
		case strings.HasPrefix(key, "slipway:") && key != TagPreview && key != TagExpires, strings.HasPrefix(strings.ToLower(key), "aws:"):
		case len(tags) == maxTags:
			dropped = append(dropped, key)
		default:
			tags = append(tags, tag)
		}
	}
	return tags, dropped
}

// releaseID returns the name of a release, made from what it changes: its version and, per
// service, the previous revision and the new image. Planning the same release again, after
// its process was killed, gives the same name.
func releaseID(version string, services []*servicePlan) string {
	var lines []string
	for _, s := range services {
		lines = append(lines, fmt.Sprintf("%s %s %s", s.Name, s.From.TaskDefinition, s.To.Image))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(version + "\n" + strings.Join(lines, "\n")))
	return cmp.Or(shortVersion(version), "rollback") + "." + hex.EncodeToString(sum[:6])
}

// shortVersion returns the first 12 characters of a version.
func shortVersion(version string) string { return version[:min(12, len(version))] }

// tagsOf returns the tags of the revision that a plan registers.
func tagsOf(s *servicePlan, id string, size int) releaseTags {
	_, digest, _ := strings.Cut(s.To.Image, "@")
	t := releaseTags{sha: s.To.SHA, digest: digest, release: id, from: s.From.TaskDefinition, size: size}
	if s.Count != nil {
		t.raised = int(s.Count.To)
	}
	return t
}
