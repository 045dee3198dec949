package wire

import (
	"encoding/base64"
	"strconv"
)

// Paginate returns the page of a list that a call requests, and the token of the next
// page, or nil. A token holds an offset and is opaque to clients.
func Paginate[T any](items []T, token *string, limit *int32, defaultSize int) ([]T, *string, error) {
	from := 0
	if token != nil && *token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(*token)
		if err == nil {
			from, err = strconv.Atoi(string(raw))
		}
		if err != nil || from < 0 {
			return nil, nil, Errorf("InvalidParameterException", "Invalid token.")
		}
	}
	size := defaultSize
	if limit != nil && *limit > 0 {
		size = int(*limit)
	}
	from = min(from, len(items))
	to := min(from+size, len(items))
	if to == len(items) {
		return items[from:], nil, nil
	}
	next := base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	return items[from:to], &next, nil
}
