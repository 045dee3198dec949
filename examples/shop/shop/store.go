package main

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// store has a file for each order, in a folder for its state. A real service has a database
// instead; this one runs anywhere.
type store struct {
	dir       string
	temporary bool // no volume is mounted: the data ends with the process
}

// openStore opens the store in a folder, or in a temporary one if it cannot be written.
func openStore(dir string) (store, error) {
	if probe, err := os.CreateTemp(dir, ".probe-"); err == nil && dir != "" {
		return store{dir: dir}, errors.Join(probe.Close(), os.Remove(probe.Name()))
	}
	dir, err := os.MkdirTemp("", "shop-")
	return store{dir: dir, temporary: true}, err
}

func (s store) close() {
	if s.temporary {
		_ = os.RemoveAll(s.dir)
	}
}

// folders are made by the migrations, one by each. The version before serves while they
// run, and after a release that fails.
var folders = []string{"open", "packed"}

// schema returns how many migrations were applied.
func (s store) schema() int {
	for n, folder := range folders {
		if _, err := os.Stat(filepath.Join(s.dir, folder)); err != nil {
			return n
		}
	}
	return len(folders)
}

// migrate applies the migrations that are missing, and returns their names.
func (s store) migrate() (applied []string, err error) {
	for _, folder := range folders[s.schema():] {
		if err := os.Mkdir(filepath.Join(s.dir, folder), 0o755); err != nil {
			return applied, err
		}
		applied = append(applied, folder)
	}
	return applied, nil
}

func (s store) add(item string) (id string, err error) {
	id = rand.Text()
	return id, os.WriteFile(filepath.Join(s.dir, "open", id), []byte(item), 0o600)
}

func (s store) list(state string) []os.DirEntry {
	orders, _ := os.ReadDir(filepath.Join(s.dir, state)) // no folder before the migration
	return orders
}

// pack packs all open orders.
func (s store) pack() (packed int, err error) {
	for _, order := range s.list("open") {
		if err := os.Rename(filepath.Join(s.dir, "open", order.Name()), filepath.Join(s.dir, "packed", order.Name())); err != nil {
			return packed, err
		}
		packed++
	}
	return packed, nil
}

// deletePacked deletes the packed orders that are older.
func (s store) deletePacked(before time.Time) (deleted int, err error) {
	for _, order := range s.list("packed") {
		info, err := order.Info()
		if err == nil && info.ModTime().Before(before) {
			deleted, err = deleted+1, os.Remove(filepath.Join(s.dir, "packed", order.Name()))
		}
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}
