package task

import (
	"os/exec"
	"path/filepath"
)

// command prepares a process of a container: in the image's root file system
// where the machine lets us change to it, otherwise with the program file of
// the image run in place.
func (s *Sandbox) command(spec Spec, root string, argv, env []string) (*exec.Cmd, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, startErrorf("no command specified")
	}
	dir := spec.workDir()
	inside, outside, err := lookPath(spec.Image.Root, dir, argv[0], env)
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	if !s.rt.chroot {
		return &exec.Cmd{
			Path: outside, Args: argv, Env: env, Dir: filepath.Join(spec.Image.Root, filepath.FromSlash(dir)),
			SysProcAttr: isolation("", nil, false),
		}, nil
	}
	who, err := userOf(spec.Image.Root, spec.user())
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	return &exec.Cmd{
		Path: inside, Args: argv, Env: env, Dir: dir, SysProcAttr: isolation(root, who, s.own),
	}, nil
}
