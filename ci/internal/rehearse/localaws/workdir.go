package localaws

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// prefix begins the names of working directories, lockName is the file in them
// that is locked as long as their server lives.
const (
	workDirPrefix = "local-aws-"
	lockFile      = "lock"
)

// workDir is a directory that is one server's alone.
type workDir struct {
	path string
	lock *os.File
}

// newWorkDir makes a working directory below parent ("" is the system's place
// for temporary files). It removes those of servers that were killed: they could
// not do it themselves.
func newWorkDir(parent string) (*workDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("embedded AWS: making its directory: %w", err)
	}
	removeStale(parent)
	path, err := os.MkdirTemp(parent, workDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("embedded AWS: making its directory: %w", err)
	}
	lock, err := os.Create(filepath.Join(path, lockFile))
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err != nil {
		_ = os.RemoveAll(path)
		return nil, fmt.Errorf("embedded AWS: locking its directory: %w", err)
	}
	return &workDir{path: path, lock: lock}, nil
}

// sweep removes the working directories below parent that nobody holds.
func removeStale(parent string) {
	const minAge = time.Minute                                                    // its server may be about to lock it
	stale, _ := filepath.Glob(filepath.Join(parent, workDirPrefix+"*", lockFile)) // the pattern is valid
	for _, name := range stale {
		lock, err := os.Open(name)
		if err != nil {
			continue
		}
		info, err := lock.Stat()
		if err == nil && time.Since(info.ModTime()) > minAge && syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(filepath.Dir(name))
		}
		_ = lock.Close()
	}
}

// remove deletes the directory with everything in it.
func (d *workDir) remove() error {
	defer d.lock.Close()
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("embedded AWS: removing its directory: %w", err)
	}
	return nil
}
