package ecs

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

// provisioningTime is how long a task waits for its network interface, nominally.
const provisioningTime = 30 * time.Millisecond

// wakeService wakes the task's service.
func (t *taskRun) wakeService() {
	if t.service != nil {
		t.service.wake()
	}
}

// requestStop requests a task to stop, for a reason that its record shows. Only the
// first request counts. The lock is held.
func (t *taskRun) requestStop(code types.TaskStopCode, reason string) {
	if t.stopping || t.status() == "STOPPED" {
		return
	}
	t.drainFirst = t.drainFirst || t.receivesRequests()
	t.stopping = true
	t.record.DesiredStatus = new("STOPPED")
	t.record.StopCode, t.record.StoppedReason = code, &reason
	t.record.StoppingAt = new(t.c.cfg.Clock.Now())
	if t.status() == "RUNNING" {
		t.setStatus("DEACTIVATING")
	}
	close(t.stop)
}

// setStatus changes the lifecycle status and wakes the service. The lock is held.
func (t *taskRun) setStatus(status string) {
	t.record.LastStatus = &status
	t.record.Version++
	t.wakeService()
}

// notify reports a change of a container to those that wait for it. The lock is held.
func (t *taskRun) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// locked runs f under the lock.
func (t *taskRun) locked(f func()) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	f()
}

// run runs a task from its start to its end, in a goroutine of its own.
func (t *taskRun) run() {
	ctx, cancel := context.WithCancel(t.c.ctx)
	defer cancel()
	go func() {
		select {
		case <-t.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := t.prepare(ctx)
	if err == nil {
		err = t.markRunning(ctx)
	}
	if err != nil {
		t.recordStartFailure(err)
	} else {
		t.registerTargets()
		<-ctx.Done()
		t.deregisterTargets()
	}
	t.stopContainers()
	t.release()
}

// recordStartFailure records why a task did not start, unless it was requested to stop.
func (t *taskRun) recordStartFailure(err error) {
	t.locked(func() { t.requestStop(types.TaskStopCodeTaskFailedToStart, truncateReason(err.Error())) })
}

// maxStoppedReason is the maximum length of stoppedReason (API reference of Task).
const maxStoppedReason = 1024

func truncateReason(reason string) string {
	if len(reason) > maxStoppedReason {
		return reason[:maxStoppedReason]
	}
	return reason
}

// prepare attaches the network interface, pulls secrets and images, and starts the
// containers.
func (t *taskRun) prepare(ctx context.Context) error {
	if err := t.c.cfg.Clock.Sleep(ctx, provisioningTime); err != nil {
		return err
	}
	t.locked(func() {
		t.record.Attachments[0].Status = new("ATTACHED")
		t.record.PullStartedAt = new(t.c.cfg.Clock.Now())
		t.setStatus("PENDING")
	})
	if err := t.pullSecrets(); err != nil {
		return err
	}
	if err := t.validateFiles(); err != nil {
		return err
	}
	images := make([]*task.Image, len(t.containers))
	for i, p := range t.containers {
		img, err := t.c.cfg.Runtime.Pull(ctx, *p.definition.Image, architectureOf(t.definition))
		if err != nil {
			t.locked(func() { t.record.Containers[i].Reason = new(err.Error()) })
			return err
		}
		images[i] = img
	}
	t.locked(func() {
		t.record.PullStoppedAt = new(t.c.cfg.Clock.Now())
		for i, img := range images {
			t.record.Containers[i].ImageDigest = new(img.Digest.String())
			if t.deployment != nil {
				t.deployment.revision.digests[*t.containers[i].definition.Name] = img.Digest.String()
			}
		}
	})
	if err := t.createLogStreams(); err != nil {
		return err
	}
	sandbox, err := t.c.cfg.Runtime.NewSandbox(t.hostname(), t.ip)
	if err != nil {
		return initializationError("%v", err)
	}
	t.locked(func() { t.sandbox = sandbox })
	return t.startContainers(ctx, images)
}

// watch records a container's exit. An essential container's ends the task.
func (t *taskRun) watch(i int) {
	p := t.containers[i]
	<-p.run.Done()
	t.locked(func() {
		p.exited = true
		rec := &t.record.Containers[i]
		rec.ExitCode, rec.LastStatus = new(int32(p.run.ExitCode())), new("STOPPED")
		if p.essential() {
			t.requestStop(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited")
			t.essentialExit.Do(func() { close(t.exited) })
		}
		t.notify()
	})
}

// release removes the task's sandbox and completes its record.
func (t *taskRun) release() {
	var sandbox *task.Sandbox
	t.locked(func() {
		sandbox = t.sandbox
		t.sandbox = nil
		t.setStatus("DEPROVISIONING")
	})
	if sandbox != nil {
		sandbox.Close()
	}
	t.locked(func() {
		t.record.StoppedAt = new(t.c.cfg.Clock.Now())
		t.record.Attachments[0].Status = new("DELETED")
		for i := range t.record.Containers {
			t.record.Containers[i].LastStatus = new("STOPPED")
		}
		t.record.Connectivity = types.ConnectivityDisconnected
		delete(t.c.byIP, t.ip)
		t.setStatus("STOPPED")
	})
}
