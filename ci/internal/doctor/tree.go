package doctor

import (
	"context"
	"maps"
	"slices"
	"strings"

	"dagger/slipway/internal/image"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/source"
)

// Tree is the source tree, as git sees it.
type Tree struct{ Dir string }

// Name fits Probe.
func (Tree) Name() string { return "tree" }

// Look asks git for the commit.
func (t Tree) Look(ctx context.Context) Finding {
	revision, err := t.revision(ctx)
	switch {
	case err != nil:
		return missing("", "%s", oneLine(err.Error()))
	case revision.Dirty:
		return ok("at commit %s, and files differ from it", revision.SHA[:12])
	}
	return ok("at commit %s", revision.SHA[:12])
}

func (t Tree) revision(ctx context.Context) (source.Revision, error) {
	tree, err := source.Open(ctx, t.Dir)
	if err != nil {
		return source.Revision{}, err
	}
	return tree.Revision(ctx)
}

// Clean is whether the tree holds what its commit holds.
type Clean struct{ Tree }

// Name fits Probe.
func (Clean) Name() string { return "clean" }

// Look asks git for files that differ.
func (c Clean) Look(ctx context.Context) Finding {
	revision, err := c.revision(ctx)
	switch {
	case err != nil:
		return missing("", "not asked: there is no commit to compare with")
	case revision.Dirty:
		return missing("commit them, or put them aside with git stash -u", "files differ from the commit, and only what a commit holds is published: git status tells them")
	}
	return ok("no file differs from the commit")
}

// Services is the services file.
type Services struct{ Dir string }

// Name fits Probe.
func (Services) Name() string { return "services" }

// Look reads the services file, which tells its faults and their mend.
func (s Services) Look(context.Context) Finding {
	p, err := platform.Load(s.Dir)
	if err != nil {
		return missing("", "%s", oneLine(err.Error()))
	}
	return ok("%s: %s", platform.ServicesFile, strings.Join(p.Names(), ", "))
}

// Lock is the lock file of the base images.
type Lock struct{ Dir string }

// Name fits Probe.
func (Lock) Name() string { return "lock" }

// Look reads the lock file.
func (l Lock) Look(context.Context) Finding {
	lock, err := image.ReadLock(l.Dir)
	if err != nil {
		return missing("", "%s", oneLine(err.Error()))
	}
	return ok("%s: %s", image.LockFile, strings.Join(slices.Sorted(maps.Keys(lock.Images)), ", "))
}

// Digests is whether the lock file says which image of a name is meant.
type Digests struct{ Lock }

// Name fits Probe.
func (Digests) Name() string { return "digests" }

// Look looks for references without a digest.
func (d Digests) Look(context.Context) Finding {
	lock, err := image.ReadLock(d.Dir)
	if err != nil {
		return missing("", "not asked: the lock file cannot be read")
	}
	var open []string
	for _, name := range slices.Sorted(maps.Keys(lock.Images)) {
		if lock.Images[name].Digest == "" {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		return limited("run slipway lock and commit the file", "not locked: %s: what their registries have then is taken", strings.Join(open, ", "))
	}
	return ok("all are locked")
}
