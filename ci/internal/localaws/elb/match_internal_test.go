package elb

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"/api/*", "/api/", true},
		{"/api/*", "/api/a/b", true},
		{"/api/*", "/api", false},
		{"/*", "/", true},
		{"*", "", true},
		{"/a?c", "/abc", true},
		{"/a?c", "/ac", false},
		{"*.png", "/x/y.png", true},
		{"*.png", "/x.png/", false},
		{"/*/img/*.png", "/a/b/img/c.png", true},
		{"", "", true},
		{"", "x", false},
		{"a*b*c", "aXbXbc", true},
		{"a**", "a", true},
	}
	for _, test := range tests {
		require.Equal(t, test.want, glob(test.pattern, test.text), "%s %s", test.pattern, test.text)
	}
}
