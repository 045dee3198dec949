//go:build !linux

package task

// Only Linux has a parent-death signal, so that other systems have no such test.
const childModeVariable = "TASK_CHILD_MODE"

func runKilledChild() {}
