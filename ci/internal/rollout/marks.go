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

// Tags of the task definition revisions that a release registers. They are
// the only state that it keeps.
const (
	TagSHA     = "slipway:sha"     // the commit that the image was built from
	TagDigest  = "slipway:digest"  // the image's digest
	TagRelease = "slipway:release" // the release's id, see [releaseID]
	TagFrom    = "slipway:from"    // ARN of the revision that ran before the release
	TagSize    = "slipway:size"    // how many services the release changes
	TagRaised  = "slipway:raised"  // tasks that a first release asked for where there were none; absent otherwise
	TagCopy    = "slipway:copy"    // ARN of the deregistered revision that this one is a copy of, marks and all; absent otherwise
)

// marks are the tags of one revision, read.
type marks struct {
	sha, digest, release, from, copyOf string
	size, raised                       int
}

func readMarks(tags []types.Tag) marks {
	values := map[string]string{}
	for _, tag := range tags {
		values[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	size, _ := strconv.Atoi(values[TagSize]) // a tag that somebody changed counts as none
	raised, _ := strconv.Atoi(values[TagRaised])
	return marks{
		sha: values[TagSHA], digest: values[TagDigest], release: values[TagRelease], from: values[TagFrom],
		copyOf: values[TagCopy], size: size, raised: raised,
	}
}

func (k marks) tags() []types.Tag {
	var tags []types.Tag
	for _, pair := range [][2]string{
		{TagSHA, k.sha}, {TagDigest, k.digest}, {TagRelease, k.release}, {TagFrom, k.from},
		{TagSize, positive(k.size)}, {TagRaised, positive(k.raised)}, {TagCopy, k.copyOf},
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

// copied are the marks of a revision that is registered again, because it was
// deregistered: those of the first one, so that the copy counts as it.
func (k marks) copied(of string) marks {
	k.copyOf = cmp.Or(k.copyOf, of)
	return k
}

// maxTags is how many tags ECS takes.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
const maxTags = 50

// tagged adds to a release's own tags those that the revision which is copied has
// from others, such as Terraform: costs are allocated by them, and policies may
// require them. Those that do not fit are dropped, the last by name first. Keys
// that begin with "aws:" are AWS's to set.
func (k marks) tagged(copied []types.Tag) (tags []types.Tag, dropped []string) {
	tags = k.tags()
	for _, tag := range sorted(copied, func(t types.Tag) string { return aws.ToString(t.Key) }) {
		key := aws.ToString(tag.Key)
		switch {
		case strings.HasPrefix(key, "slipway:"), strings.HasPrefix(strings.ToLower(key), "aws:"):
		case len(tags) == maxTags:
			dropped = append(dropped, key)
		default:
			tags = append(tags, tag)
		}
	}
	return tags, dropped
}

// releaseID names a release by what it changes: its version and, per service,
// what ran and what shall run. Whoever plans the same release again, after its
// process was killed, finds the same name.
func releaseID(version string, moves []*move) string {
	var lines []string
	for _, m := range moves {
		lines = append(lines, fmt.Sprintf("%s %s %s", m.name(), m.from.TaskDefinition, m.to.Image))
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(version + "\n" + strings.Join(lines, "\n")))
	return cmp.Or(shortVersion(version), "rollback") + "." + hex.EncodeToString(sum[:6])
}

// shortVersion is as much of a version as people read.
func shortVersion(version string) string { return version[:min(12, len(version))] }

// marksOf are the marks of the revision that a move registers.
func marksOf(m *move, id string, size int) marks {
	_, digest, _ := strings.Cut(m.to.Image, "@")
	k := marks{sha: m.to.SHA, digest: digest, release: id, from: m.from.TaskDefinition, size: size}
	if m.count != nil {
		k.raised = int(m.count.to)
	}
	return k
}
