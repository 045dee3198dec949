package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// store keeps each order in a file, in a folder for its state. A real service has a
// database here; this one runs anywhere.
type store struct {
	dir       string
	temporary bool // there is no volume: the data ends with the process
}

// openStore opens the store in a folder, or in a temporary one if it cannot be written.
func openStore(dir string) (store, error) {
	if probe, err := os.CreateTemp(dir, ".probe-"); dir != "" && err == nil {
		_ = probe.Close()
		return store{dir: dir}, os.Remove(probe.Name())
	}
	dir, err := os.MkdirTemp("", "shop-")
	return store{dir: dir, temporary: true}, err
}

func (s store) close() {
	if s.temporary {
		_ = os.RemoveAll(s.dir)
	}
}

func (s store) path(name ...string) string { return filepath.Join(append([]string{s.dir}, name...)...) }

// migrations bring the data from one schema to the next. Each works with the program of
// the version before, which serves while they run.
var migrations = []struct {
	name  string
	apply func(store) error
}{
	{"1 orders", func(s store) error { return os.MkdirAll(s.path("open"), 0o755) }},
	{"2 packed orders", func(s store) error { return os.MkdirAll(s.path("packed"), 0o755) }},
}

// schema returns how many migrations were applied.
func (s store) schema() int {
	text, _ := os.ReadFile(s.path("schema")) // none before the first
	applied, _ := strconv.Atoi(string(text))
	return min(max(applied, 0), len(migrations))
}

// migrate applies the missing migrations and returns their names.
func (s store) migrate() (applied []string, err error) {
	for n := s.schema(); n < len(migrations); n++ {
		if err := migrations[n].apply(s); err != nil {
			return applied, err
		}
		if err := os.WriteFile(s.path("schema"), []byte(strconv.Itoa(n+1)), 0o644); err != nil {
			return applied, err
		}
		applied = append(applied, migrations[n].name)
	}
	return applied, nil
}

var errNotMigrated = errors.New("the data has no orders yet: run migrate")

// add stores an order and returns its id.
func (s store) add(item string) (string, error) {
	if s.schema() < len(migrations) {
		return "", errNotMigrated
	}
	id := rand.Text()
	return id, os.WriteFile(s.path("open", id), []byte(item), 0o644)
}

// find returns the item and the state of an order.
func (s store) find(id string) (item, state string, err error) {
	for _, state := range []string{"open", "packed"} {
		text, err := os.ReadFile(s.path(state, filepath.Base(id)))
		if err == nil {
			return string(text), state, nil
		}
	}
	return "", "", fmt.Errorf("order %q does not exist", id)
}

// pack packs all open orders.
func (s store) pack() (packed int, err error) {
	orders, _ := os.ReadDir(s.path("open")) // no folder before the migration
	for _, order := range orders {
		err := os.Rename(s.path("open", order.Name()), s.path("packed", order.Name()))
		if err == nil {
			packed++
		} else if !errors.Is(err, os.ErrNotExist) { // another worker has packed it
			return packed, err
		}
	}
	return packed, nil
}

// deletePacked deletes the packed orders that are older.
func (s store) deletePacked(before time.Time) (deleted int, err error) {
	orders, _ := os.ReadDir(s.path("packed")) // as above
	for _, order := range orders {
		if info, err := order.Info(); err != nil || info.ModTime().After(before) {
			continue
		}
		if err := os.Remove(s.path("packed", order.Name())); err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}
