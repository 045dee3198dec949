package task

import (
	"os/exec"
	"path/filepath"
)

// command prepares a process of a container. It runs in the image's root file system
// if this process may change its root; otherwise the program is run from the unpacked
// image.
func (s *Sandbox) command(spec Spec, root string, argv, env []string) (*exec.Cmd, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, startErrorf("no command specified")
	}
	dir := spec.workDir()
	containerPath, hostPath, err := lookPath(spec.Image.Root, dir, argv[0], env)
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	if !s.rt.chroot {
		return &exec.Cmd{
			Path: hostPath, Args: argv, Env: env, Dir: filepath.Join(spec.Image.Root, filepath.FromSlash(dir)),
			SysProcAttr: sysProcAttr("", nil, false),
		}, nil
	}
	user, err := resolveUser(spec.Image.Root, spec.user())
	if err != nil {
		return nil, startErrorf("%v", err)
	}
	return &exec.Cmd{
		Path: containerPath, Args: argv, Env: env, Dir: dir, SysProcAttr: sysProcAttr(root, user, s.isolated),
	}, nil
}
