package module

import (
	"encoding/json"
	"os"

	"github.com/hashicorp/hcl/v2"
)

// jsonStrings returns all strings in a JSON file: Terraform treats each as a
// template.
func jsonStrings(body hcl.Body) []string {
	data, err := os.ReadFile(body.MissingItemRange().Filename)
	if err != nil {
		return nil
	}
	var document any
	if json.Unmarshal(data, &document) != nil {
		return nil
	}
	var found []string
	var visit func(any)
	visit = func(node any) {
		switch n := node.(type) {
		case string:
			found = append(found, n)
		case map[string]any:
			for _, inner := range n {
				visit(inner)
			}
		case []any:
			for _, inner := range n {
				visit(inner)
			}
		}
	}
	visit(document)
	return found
}
