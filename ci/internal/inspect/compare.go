package inspect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// Difference is what two images differ in.
type Difference struct {
	From End `json:"from"`
	To   End `json:"to"`
	// Identical images have one digest: there is nothing more to say of them.
	Identical bool `json:"identical"`
	// Annotations are those of the whole images.
	Annotations []Change             `json:"annotations"`
	Platforms   []PlatformDifference `json:"platforms"`
}

// End is one of two images.
type End struct {
	Image  string `json:"image"`
	Digest string `json:"digest"`
}

// PlatformDifference is what two images for one platform differ in.
type PlatformDifference struct {
	Platform string `json:"platform"`
	// OnlyIn names the image that has the platform, where the other lacks it.
	OnlyIn        string   `json:"only_in,omitempty"`
	Configuration []Change `json:"configuration"`
	Files         []Change `json:"files"`
	Modules       []Change `json:"modules"`
}

// Change is one thing that two images differ in. What is empty on one side is
// not there.
type Change struct {
	// Name is a field of the configuration, a path, or a program and one of its
	// modules.
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Compare tells what to differs in from from, file by file. Files are those
// that a container sees: what an upper layer hides is not among them.
func Compare(ctx context.Context, from, to Image) (Difference, error) {
	d := Difference{
		From: End{from.Name, from.Digest.String()}, To: End{to.Name, to.Digest.String()},
		Identical:   from.Digest == to.Digest,
		Annotations: changes(from.Annotations, to.Annotations), Platforms: []PlatformDifference{},
	}
	if d.Identical {
		return d, nil
	}
	before, after := from.byPlatform(), to.byPlatform()
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, platform := range slices.Sorted(maps.Keys(all)) {
		one := PlatformDifference{Platform: platform}
		var err error
		switch {
		case before[platform] == nil:
			one.OnlyIn = to.Name
		case after[platform] == nil:
			one.OnlyIn = from.Name
		default:
			one, err = compareOne(ctx, platform, before[platform], after[platform])
		}
		if err != nil {
			return Difference{}, fmt.Errorf("comparing the images for %s: %w", platform, err)
		}
		d.Platforms = append(d.Platforms, one)
	}
	return d, nil
}

func (i Image) byPlatform() map[string]v1.Image {
	images := map[string]v1.Image{}
	for _, c := range i.children {
		images[c.platform] = c.image
	}
	return images
}

func compareOne(ctx context.Context, platform string, from, to v1.Image) (PlatformDifference, error) {
	before, err := read(ctx, from)
	if err != nil {
		return PlatformDifference{}, err
	}
	after, err := read(ctx, to)
	if err != nil {
		return PlatformDifference{}, err
	}
	return PlatformDifference{
		Platform:      platform,
		Configuration: changes(before.configuration, after.configuration),
		Files:         changes(before.files, after.files),
		Modules:       changes(before.modules, after.modules),
	}, nil
}

// view is an image as names and what stands for them in words.
type view struct{ configuration, files, modules map[string]string }

func read(ctx context.Context, img v1.Image) (view, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return view{}, err
	}
	content := mutate.Extract(img)
	defer content.Close()
	files, programs, err := readFiles(ctx, content)
	if err != nil {
		return view{}, err
	}
	v := view{configurationOf(file).fields(), map[string]string{}, map[string]string{}}
	for _, f := range files {
		v.files[f.Path] = f.words()
	}
	for _, p := range programs {
		v.modules[p.Path+" go"] = p.Go
		for _, m := range p.Modules {
			v.modules[p.Path+" "+m.Path] = m.Version
		}
	}
	return v, nil
}

// words is all about a file that two images can differ in.
func (f File) words() string {
	words := []string{f.Mode, fmt.Sprintf("%d:%d", f.UID, f.GID)}
	if f.Digest != "" {
		words = append(words, fmt.Sprintf("%d bytes", f.Size), f.Digest)
	}
	if f.Link != "" {
		words = append(words, "-> "+f.Link)
	}
	words = append(words, time.Unix(f.Modified, 0).UTC().Format(time.RFC3339))
	return strings.Join(words, " ")
}

func changes(from, to map[string]string) []Change {
	all := []Change{}
	for name, value := range from {
		if to[name] != value {
			all = append(all, Change{name, value, to[name]})
		}
	}
	for name, value := range to {
		if _, ok := from[name]; !ok {
			all = append(all, Change{name, "", value})
		}
	}
	slices.SortFunc(all, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
