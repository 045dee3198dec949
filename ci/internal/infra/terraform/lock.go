package terraform

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Lock is who holds the lock of a state, as Terraform tells it.
type Lock struct {
	ID, Path, Operation, Who, Version string
	// Created is when it was taken; zero if Terraform did not say.
	Created time.Time
}

var lockField = regexp.MustCompile(`(?m)^\s*(ID|Path|Operation|Who|Version|Created):[ \t]*(.*?)\s*$`)

// lockTime is how Terraform writes the time of a lock: Go's time.Time.String.
const lockTime = "2006-01-02 15:04:05.999999999 -0700 MST"

// ParseLock finds the holder of a lock in the detail of a diagnostic; false
// where it names none.
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

// String says who holds the lock, since when, and how it is taken from them.
func (l Lock) String() string {
	since := ""
	if !l.Created.IsZero() {
		since = " since " + l.Created.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("the state is locked by %s%s (terraform %s, lock %s): wait for it with --lock-timeout, or, if that run is surely dead, run terraform force-unlock %s",
		cmp.Or(l.Who, "somebody"), since, cmp.Or(l.Operation, "run"), l.ID, l.ID)
}
