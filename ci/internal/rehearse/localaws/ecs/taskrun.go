package ecs

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/rehearse/localaws/task"
)

// provisioning is how long a task waits for its network interface, nominally.
const provisioning = 30 * time.Millisecond

// poke wakes up the task's service.
func (t *taskRun) poke() {
	if t.service != nil {
		t.service.poke()
	}
}

// requestStop tells a task to stop, for a reason that its record will show. Only
// the first request counts. The lock is held.
func (t *taskRun) requestStop(code types.TaskStopCode, reason string) {
	if t.stopping || t.status() == "STOPPED" {
		return
	}
	t.stopping = true
	t.record.DesiredStatus = new("STOPPED")
	t.record.StopCode, t.record.StoppedReason = code, &reason
	t.record.StoppingAt = new(t.c.cfg.Clock.Now())
	if t.status() == "RUNNING" {
		t.set("DEACTIVATING")
	}
	close(t.stopped)
}

// set changes the lifecycle state and tells the service. The lock is held.
func (t *taskRun) set(status string) {
	t.record.LastStatus = &status
	t.record.Version++
	t.poke()
}

// update runs f under the lock.
func (t *taskRun) update(f func()) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	f()
}

// live is a task's whole life, in a goroutine of its own.
func (t *taskRun) live() {
	ctx, cancel := context.WithCancel(t.c.ctx)
	defer cancel()
	go func() {
		select {
		case <-t.stopped:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := t.prepare(ctx); err != nil {
		t.failStart(err)
		t.end()
		return
	}
	if err := t.start(ctx); err != nil {
		t.failStart(err)
		t.stopContainers()
		t.end()
		return
	}
	t.join()
	t.watch(ctx)
	t.leave()
	t.stopContainers()
	t.end()
}

// failStart records why a task did not come up, unless it was told to stop.
func (t *taskRun) failStart(err error) {
	t.update(func() { t.requestStop(types.TaskStopCodeTaskFailedToStart, trim(err.Error())) })
}

// maxReason is where stoppedReason ends (API reference of Task: 1024 characters).
const maxReason = 1024

func trim(reason string) string {
	if len(reason) > maxReason {
		return reason[:maxReason]
	}
	return reason
}

// prepare gets the task its address, its secrets and its images.
func (t *taskRun) prepare(ctx context.Context) error {
	if err := t.c.cfg.Clock.Sleep(ctx, provisioning); err != nil {
		return err
	}
	t.update(func() {
		t.record.Attachments[0].Status = new("ATTACHED")
		t.record.PullStartedAt = new(t.c.cfg.Clock.Now())
		t.set("PENDING")
	})
	if err := t.pullSecrets(); err != nil {
		return err
	}
	images := make([]*task.Image, len(t.parts))
	for i, p := range t.parts {
		img, err := t.c.cfg.Runtime.Pull(ctx, *p.definition.Image)
		if err != nil {
			t.update(func() { t.record.Containers[i].Reason = new(err.Error()) })
			return err
		}
		images[i] = img
	}
	t.update(func() {
		t.record.PullStoppedAt = new(t.c.cfg.Clock.Now())
		for i, img := range images {
			t.record.Containers[i].ImageDigest = new(img.Digest.String())
			if t.deployment != nil {
				t.deployment.revision.digests[*t.parts[i].definition.Name] = img.Digest.String()
			}
		}
	})
	if err := t.openLogs(); err != nil {
		return err
	}
	sandbox, err := t.c.cfg.Runtime.NewSandbox(t.hostname(), t.ip)
	if err != nil {
		return resourceError("%v", err)
	}
	t.update(func() { t.sandbox = sandbox })
	return t.startContainers(ctx, images)
}

// watch waits until an essential container ends or the task is told to stop.
func (t *taskRun) watch(ctx context.Context) {
	ended := make(chan *part, len(t.parts))
	for _, p := range t.parts {
		t.c.wg.Go(func() {
			<-p.run.Done()
			ended <- p
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-ended:
			t.update(func() { t.exited(p) })
			if !aws.ToBool(p.definition.Essential) {
				continue
			}
			t.update(func() {
				t.requestStop(types.TaskStopCodeEssentialContainerExited, "Essential container in task exited")
			})
			return
		}
	}
}

// exited notes a container's end. The lock is held.
func (t *taskRun) exited(p *part) {
	i := slices.Index(t.parts, p)
	rec := &t.record.Containers[i]
	if rec.ExitCode == nil && p.run != nil {
		rec.ExitCode = new(int32(p.run.ExitCode()))
	}
	rec.LastStatus = new("STOPPED")
}

// end takes the task's surroundings down and closes its record.
func (t *taskRun) end() {
	var sandbox *task.Sandbox
	t.update(func() {
		sandbox = t.sandbox
		t.sandbox = nil
		t.set("DEPROVISIONING")
	})
	if sandbox != nil {
		sandbox.Close()
	}
	t.update(func() {
		t.record.StoppedAt = new(t.c.cfg.Clock.Now())
		t.record.Attachments[0].Status = new("DELETED")
		for i := range t.record.Containers {
			t.record.Containers[i].LastStatus = new("STOPPED")
		}
		t.record.Connectivity = types.ConnectivityDisconnected
		delete(t.c.byIP, t.ip)
		t.set("STOPPED")
	})
}
