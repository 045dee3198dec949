package step

import "path"

// Only is the Include of a step that reads one folder of the tree,
// slash-separated and relative to its root: the root itself is all of it.
func Only(folder string) []string {
	if folder = path.Clean(folder); folder != "." {
		return []string{folder}
	}
	return nil
}
