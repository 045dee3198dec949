//go:build !linux

package task

// Only Linux lets a process die with its parent, so nobody is killed elsewhere.
const victim = "TASK_VICTIM"

func beVictim() {}
