package inspect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/leak"
)

// Report is what is in an image.
type Report struct {
	Image       string            `json:"image"`
	Digest      string            `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platforms   []Platform        `json:"platforms"`
}

// Platform is what is in an image for one platform.
type Platform struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	// Size is the number of bytes of the compressed layers.
	Size          int64         `json:"size"`
	Configuration Configuration `json:"configuration"`
	Layers        []Layer       `json:"layers"`
	Programs      []Program     `json:"programs,omitempty"`
}

// Configuration is how a container is started, in Docker's words.
type Configuration struct {
	User       string            `json:"user,omitempty"`
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Command    []string          `json:"command,omitempty"`
	Env        []string          `json:"env,omitempty"`
	Ports      []string          `json:"ports,omitempty"`
	Volumes    []string          `json:"volumes,omitempty"`
	Folder     string            `json:"working_dir,omitempty"`
	StopSignal string            `json:"stop_signal,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Layer is one layer of an image.
type Layer struct {
	Digest string `json:"digest"`
	// Size is the number of compressed bytes, Unpacked that of the files.
	Size     int64  `json:"size"`
	Unpacked int64  `json:"unpacked"`
	By       string `json:"created_by,omitempty"`
	Files    []File `json:"files"`
}

// Inspect reads an image to its end.
func Inspect(ctx context.Context, img Image) (Report, error) {
	report := Report{Image: img.Name, Digest: img.Digest.String(), Annotations: img.Annotations}
	for _, c := range img.children {
		p, err := inspectOne(ctx, c)
		if err != nil {
			return Report{}, fmt.Errorf("inspecting %s for %s: %w", img.Name, c.platform, err)
		}
		report.Platforms = append(report.Platforms, p)
	}
	return report, nil
}

func inspectOne(ctx context.Context, c child) (Platform, error) {
	digest, err := c.image.Digest()
	if err != nil {
		return Platform{}, err
	}
	file, err := c.image.ConfigFile()
	if err != nil {
		return Platform{}, err
	}
	layers, err := c.image.Layers()
	if err != nil {
		return Platform{}, err
	}
	p := Platform{Platform: c.platform, Digest: digest.String(), Configuration: configurationOf(file)}
	history := slices.DeleteFunc(slices.Clone(file.History), func(h v1.History) bool { return h.EmptyLayer })
	for n, layer := range layers {
		read, programs, err := inspectLayer(ctx, layer)
		if err != nil {
			return Platform{}, fmt.Errorf("layer %d: %w", n+1, err)
		}
		if n < len(history) {
			read.By = history[n].CreatedBy
		}
		p.Layers = append(p.Layers, read)
		p.Size += read.Size
		p.Programs = append(p.Programs, programs...)
	}
	return p, nil
}

func inspectLayer(ctx context.Context, layer v1.Layer) (Layer, []Program, error) {
	digest, err := layer.Digest()
	if err != nil {
		return Layer{}, nil, err
	}
	size, err := layer.Size()
	if err != nil {
		return Layer{}, nil, err
	}
	content, err := layer.Uncompressed()
	if err != nil {
		return Layer{}, nil, err
	}
	defer content.Close()
	files, programs, err := readFiles(ctx, content)
	read := Layer{Digest: digest.String(), Size: size, Files: files}
	for _, file := range files {
		read.Unpacked += file.Size
	}
	return read, programs, err
}

func configurationOf(file *v1.ConfigFile) Configuration {
	c := file.Config
	env := slices.Clone(c.Env)
	for i, variable := range env {
		if name, value, ok := strings.Cut(variable, "="); ok {
			env[i] = name + "=" + leak.Value(name, value)
		}
	}
	labels := maps.Clone(c.Labels)
	for name, value := range labels {
		labels[name] = leak.Value(name, value)
	}
	return Configuration{
		User: c.User, Entrypoint: leak.Args(c.Entrypoint), Command: leak.Args(c.Cmd), Env: env,
		Ports: slices.Sorted(maps.Keys(c.ExposedPorts)), Volumes: slices.Sorted(maps.Keys(c.Volumes)),
		Folder: c.WorkingDir, StopSignal: c.StopSignal, Labels: labels,
	}
}

// fields are the parts of a configuration that are set, in words.
func (c Configuration) fields() map[string]string {
	all := map[string]string{
		"user": c.User, "entrypoint": strings.Join(c.Entrypoint, " "), "command": strings.Join(c.Command, " "),
		"ports": strings.Join(c.Ports, " "), "volumes": strings.Join(c.Volumes, " "),
		"working dir": c.Folder, "stop signal": c.StopSignal,
	}
	for _, variable := range c.Env {
		name, value, _ := strings.Cut(variable, "=")
		all["env "+name] = value
	}
	for name, value := range c.Labels {
		all["label "+name] = value
	}
	maps.DeleteFunc(all, func(_, value string) bool { return value == "" })
	return all
}
