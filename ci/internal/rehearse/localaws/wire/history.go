package wire

import (
	"slices"
	"sync"
	"time"
)

// readHistory records responses, so that a read can return an earlier state: AWS's
// reads are eventually consistent.
type readHistory struct {
	mu        sync.Mutex
	responses map[string][]response // by request, oldest first
}

type response struct {
	at   time.Time
	body []byte
}

// maxResponses is how many responses to one request are kept.
const maxResponses = 256

// record adds a response to a request.
func (h *readHistory) record(request string, body []byte, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.responses == nil {
		h.responses = map[string][]response{}
	}
	list := slices.Concat(h.responses[request], []response{{now, body}})
	if len(list) > maxResponses {
		list = slices.Delete(list, 0, len(list)-maxResponses)
	}
	h.responses[request] = list
}

// asOf returns the newest response to a request that is no later than a moment, or the
// oldest one if all are later. ok is false if the request was never recorded.
func (h *readHistory) asOf(request string, moment time.Time) (body []byte, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.responses[request]
	if len(list) == 0 {
		return nil, false
	}
	for _, a := range slices.Backward(list) {
		if !a.at.After(moment) {
			return a.body, true
		}
	}
	return list[0].body, true
}
