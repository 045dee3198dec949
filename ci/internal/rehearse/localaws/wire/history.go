package wire

import (
	"slices"
	"sync"
	"time"
)

// past keeps earlier answers, so that a read can be answered as things were a
// while ago: AWS's reads are eventually consistent.
type readHistory struct {
	mu        sync.Mutex
	responses map[string][]response // by request, oldest first
}

type response struct {
	at   time.Time
	body []byte
}

// maxAnswers is how many answers to one request are kept.
const maxResponses = 256

// keep adds an answer to a request.
func (p *readHistory) record(request string, body []byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.responses == nil {
		p.responses = map[string][]response{}
	}
	list := slices.Concat(p.responses[request], []response{{now, body}})
	if len(list) > maxResponses {
		list = slices.Delete(list, 0, len(list)-maxResponses)
	}
	p.responses[request] = list
}

// asOf is the newest answer to a request that was given no later than a moment,
// and the oldest that is known if all are later. There is none for a request
// that was never made.
func (p *readHistory) asOf(request string, moment time.Time) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.responses[request]
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
