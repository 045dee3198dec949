package terraform

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Lock is a state lock, as Terraform reports it.
type Lock struct {
	ID, Path, Operation, Who, Version string
	// Created is when it was acquired; zero if unknown.
	Created time.Time
}

var lockField = regexp.MustCompile(`(?m)^\s*(ID|Path|Operation|Who|Version|Created):[ \t]*(.*?)\s*$`)

// lockTime is the format of a lock's time: that of time.Time.String.
const lockTime = "2006-01-02 15:04:05.999999999 -0700 MST"

// ParseLock parses the lock in the detail of a diagnostic; it returns false if
// there is no lock.
func ParseLock(detail string) (Lock, bool) {
	_, info, found := strings.Cut(detail, "Lock Info:")
	if !found {
		return Lock{}, false
	}
	var l Lock
	for _, field := range lockField.FindAllStringSubmatch(info, -1) {
		switch value := field[2]; field[1] {
		case "ID":
			l.ID = value
		case "Path":
			l.Path = value
		case "Operation":
			l.Operation = strings.ToLower(strings.TrimPrefix(value, "OperationType"))
		case "Who":
			l.Who = value
		case "Version":
			l.Version = value
		case "Created":
			l.Created, _ = time.Parse(lockTime, value) // zero means unknown
		}
	}
	return l, l.ID != ""
}

// String describes who holds the lock, since when, and how to release it.
func (l Lock) String() string {
	since := ""
	if !l.Created.IsZero() {
		since = " since " + l.Created.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("the state is locked by %s%s (terraform %s, lock %s): wait for it (slipway: --lock-timeout) or, if that run has certainly ended, run terraform force-unlock %s",
		cmp.Or(l.Who, "another run"), since, cmp.Or(l.Operation, "run"), l.ID, l.ID)
}
