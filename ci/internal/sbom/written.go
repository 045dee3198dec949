package sbom

// Written is which bills of materials were written: `sbom` returns it.
type Written struct {
	Documents []WrittenDocument `json:"documents"`
}

// WrittenDocument is one of them.
type WrittenDocument struct {
	Service string `json:"service"`
	// Digest is that of the image.
	Digest string `json:"digest"`
	// File is where the document is, with slashes.
	File string `json:"file"`
	// Packages is how many packages it lists.
	Packages int `json:"packages"`
}
