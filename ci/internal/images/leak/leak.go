// Package leak finds secrets before they are published or shown. [Find] finds
// private keys and AWS access keys in files: everyone who can pull an image can
// read it. [Redact] removes passwords and tokens of any kind from text such as
// diffs and logs.
package leak

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Finding is one secret.
type Finding struct {
	// Kind is what was found, such as "a private key". The secret itself is never
	// repeated.
	Kind string
	// Line starts at 1.
	Line int
}

// secretKinds are the secrets that [Find] finds. A private key needs its first line
// of content as well: programs that read keys contain the header alone.
//
// The text encodings are those of RFC 7468 and RFC 4880, section 6.2. Access key
// IDs have a prefix of four letters:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
var secretKinds = []struct {
	name    string
	marker  []byte // a fast test: every match contains it
	pattern *regexp.Regexp
}{
	{
		"a private key", []byte("PRIVATE KEY"),
		regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[rn])+(?:[A-Z][A-Za-z-]+: [^\r\n\\]*(?:\s|\\[rn])+)*[A-Za-z0-9+/=]{16}`),
	},
	{"a private key", []byte("PuTTY-User-Key-File-"), regexp.MustCompile(`PuTTY-User-Key-File-\d+: \S`)},
	{"an AWS access key id", []byte("AKIA"), regexp.MustCompile(`AKIA[A-Z2-7]{16}`)},
	{"an AWS access key id", []byte("ASIA"), regexp.MustCompile(`ASIA[A-Z2-7]{16}`)},
}

// Find returns the first secret in data.
func Find(data []byte) (found Finding, ok bool) {
	for _, kind := range secretKinds {
		at := firstMatch(data, kind.marker, kind.pattern)
		if at < 0 {
			continue
		}
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		if !ok || line < found.Line {
			found, ok = Finding{kind.name, line}, true
		}
	}
	return found, ok
}

// firstMatch returns the offset of the first match of pattern, which starts at most
// a line before marker, or -1. Regular expressions are slow on a whole binary, so
// only the surroundings of markers are searched.
func firstMatch(data, marker []byte, pattern *regexp.Regexp) int {
	const before, after = 64, 4096
	for from := 0; ; {
		n := bytes.Index(data[from:], marker)
		if n < 0 {
			return -1
		}
		n += from
		start := max(0, n-before)
		if m := pattern.FindIndex(data[start:min(len(data), n+after)]); m != nil {
			return start + m[0]
		}
		from = n + len(marker)
	}
}

// keyStoreExtensions are the extensions of files that hold private keys in a binary
// encoding.
var keyStoreExtensions = []string{".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx"}

// IsPrivateFile reports whether a file must not be published, by its name alone: a
// developer's environment file, git's own directory, a key store. The path is
// slash-separated.
func IsPrivateFile(file string) bool {
	for part := range strings.SplitSeq(file, "/") {
		if part == ".git" || strings.HasPrefix(part, ".env") {
			return true
		}
	}
	return slices.Contains(keyStoreExtensions, strings.ToLower(path.Ext(file)))
}
