package ecs

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// ServeMetadata serves the task metadata endpoint version 4 below
// /v4/<task id>-<container>: the container's metadata at the root, the task's at /task.
func (c *ControlPlane) ServeMetadata(w http.ResponseWriter, r *http.Request) {
	id, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v4/"), "/")
	id, number, _ := strings.Cut(id, "-")
	i, _ := strconv.Atoi(number)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.byIP {
		if t.id != id || i < 0 || i >= len(t.containers) {
			continue
		}
		var body any = t.metadataOf(i)
		if rest == "task" {
			body = t.metadata()
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(body)
		return
	}
	http.Error(w, "no such task", http.StatusNotFound)
}

func (t *taskRun) metadata() map[string]any {
	containers := make([]map[string]any, len(t.containers))
	for i := range t.containers {
		containers[i] = t.metadataOf(i)
	}
	return map[string]any{
		"Cluster": *t.record.ClusterArn, "TaskARN": t.arn, "Family": *t.definition.Family, "Revision": itoa(t.definition.Revision),
		"DesiredStatus": *t.record.DesiredStatus, "KnownStatus": t.status(), "LaunchType": "FARGATE",
		"AvailabilityZone": *t.record.AvailabilityZone, "Containers": containers,
	}
}

func (t *taskRun) metadataOf(i int) map[string]any {
	rec := t.record.Containers[i]
	digest := ""
	if rec.ImageDigest != nil {
		digest = *rec.ImageDigest
	}
	return map[string]any{
		"DockerId": t.id, "Name": *rec.Name, "Image": *rec.Image, "ImageID": digest, "KnownStatus": *rec.LastStatus,
		"ContainerARN": *rec.ContainerArn, "Labels": map[string]string{
			"com.amazonaws.ecs.cluster": *t.record.ClusterArn, "com.amazonaws.ecs.task-arn": t.arn,
			"com.amazonaws.ecs.task-definition-family": *t.definition.Family, "com.amazonaws.ecs.container-name": *rec.Name,
		},
		"Networks": []map[string]any{{"NetworkMode": "awsvpc", "IPv4Addresses": []string{t.ip}, "PrivateDNSName": t.hostname()}},
	}
}
