package image

import "fmt"

// Summary is what a build made, and its JSON.
type Summary struct {
	Images []Description `json:"images"`
}

// Description is one image of a [Summary].
type Description struct {
	Service   string   `json:"service"`
	Digest    string   `json:"digest"`
	Platforms []string `json:"platforms"`
	// Size is in bytes: see [Image.Size].
	Size int64 `json:"size"`
	// Baseless says why the image lacks its base; absent when it is complete.
	Baseless string `json:"baseless,omitempty"`
	// Note says what makes the digest another one than elsewhere; absent when
	// nothing does.
	Note string `json:"note,omitempty"`
}

// Describe describes images.
func Describe(images []Image) ([]Description, error) {
	var descriptions []Description
	for _, img := range images {
		digest, err := img.Digest()
		if err != nil {
			return nil, fmt.Errorf("describing the image of %s: %w", img.Service, err)
		}
		platforms, err := img.Platforms()
		if err != nil {
			return nil, err
		}
		size, err := img.Size()
		if err != nil {
			return nil, fmt.Errorf("describing the image of %s: %w", img.Service, err)
		}
		descriptions = append(descriptions, Description{img.Service, digest.String(), platforms, size, img.Baseless, img.Note})
	}
	return descriptions, nil
}
