package localaws

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// workDirPrefix begins the names of working directories. A server locks the lockFile
// of its own while it runs.
const (
	workDirPrefix = "local-aws-"
	lockFile      = "lock"
)

// workDir is the working directory of one server.
type workDir struct {
	path string
	lock *os.File
}

// newWorkDir creates a working directory below parent; "" means the system's
// temporary directory. It removes the directories of servers that were killed, which
// could not do so themselves.
func newWorkDir(parent string) (*workDir, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("embedded AWS: creating its directory: %w", err)
	}
	removeStale(parent)
	path, err := os.MkdirTemp(parent, workDirPrefix)
	if err != nil {
		return nil, fmt.Errorf("embedded AWS: creating its directory: %w", err)
	}
	lock, err := os.Create(filepath.Join(path, lockFile))
	if err == nil {
		err = tryLock(lock)
	}
	if err != nil {
		_ = os.RemoveAll(path)
		return nil, fmt.Errorf("embedded AWS: locking its directory: %w", err)
	}
	return &workDir{path: path, lock: lock}, nil
}

// removeStale removes the working directories below parent that no server has locked.
func removeStale(parent string) {
	const minAge = time.Minute                                                    // a newer one's server may be about to lock it
	stale, _ := filepath.Glob(filepath.Join(parent, workDirPrefix+"*", lockFile)) // the pattern is valid
	for _, name := range stale {
		lock, err := os.Open(name)
		if err != nil {
			continue
		}
		info, err := lock.Stat()
		isStale := err == nil && time.Since(info.ModTime()) > minAge && tryLock(lock) == nil
		_ = lock.Close() // Windows removes no open file
		if isStale {
			_ = os.RemoveAll(filepath.Dir(name))
		}
	}
}

// remove deletes the directory and its contents.
func (d *workDir) remove() error {
	_ = d.lock.Close() // Windows removes no open file
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("embedded AWS: removing its directory: %w", err)
	}
	return nil
}
