// Package leak finds secrets in what is about to leave the machine. In files it
// looks for private keys and AWS access keys: an image is readable by all who
// may pull it, and what was pushed once cannot be taken back. In what is shown,
// such as a difference or the last lines of a log, it hides passwords and
// tokens of any kind: who reads a job's log need not know them.
package leak

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// Finding is one secret.
type Finding struct {
	// Kind says what it is. The secret itself is never told: whoever reads
	// the message may not be the one whom it belongs to.
	Kind string
	// Line is counted from 1.
	Line int
}

// secretKinds are the secrets that are looked for. A private key needs its first
// line of content, too: programs that read keys have the header alone.
//
// The text encodings are those of RFC 7468 and RFC 4880, section 6.2; access
// keys begin with four letters that say whose they are:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
var secretKinds = []struct {
	name    string
	marker  []byte // a cheap test: no match is without it
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

// Find finds the first secret of data.
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

// firstMatch is where pattern, which begins at most a line before marker, matches
// first. -1 means nowhere. Regular expressions are slow over a whole binary,
// so they see the surroundings of markers only.
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

// keyStoreExtensions are files that hold private keys in an encoding of their own.
var keyStoreExtensions = []string{".p12", ".pfx", ".jks", ".keystore", ".ppk", ".kdbx"}

// IsPrivateFile tells whether a file's name alone says that it must not leave: the
// environment of a developer, git's own folder, a store of private keys. The
// path is slash-separated.
func IsPrivateFile(file string) bool {
	for part := range strings.SplitSeq(file, "/") {
		if part == ".git" || strings.HasPrefix(part, ".env") {
			return true
		}
	}
	extension := strings.ToLower(path.Ext(file))
	for _, store := range keyStoreExtensions {
		if extension == store {
			return true
		}
	}
	return false
}
