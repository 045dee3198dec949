package wire

import (
	"slices"
	"sync"
	"time"
)

// past keeps earlier answers, so that a read can be answered as things were a
// while ago: AWS's reads are eventually consistent.
type past struct {
	mu      sync.Mutex
	answers map[string][]answer // by request, oldest first
}

type answer struct {
	at   time.Time
	body []byte
}

// maxAnswers is how many answers to one request are kept.
const maxAnswers = 256

// keep adds an answer to a request.
func (p *past) keep(request string, body []byte, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == nil {
		p.answers = map[string][]answer{}
	}
	list := slices.Concat(p.answers[request], []answer{{now, body}})
	if len(list) > maxAnswers {
		list = slices.Delete(list, 0, len(list)-maxAnswers)
	}
	p.answers[request] = list
}

// asOf is the newest answer to a request that was given no later than a moment,
// and the oldest that is known if all are later. There is none for a request
// that was never made.
func (p *past) asOf(request string, moment time.Time) ([]byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.answers[request]
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
