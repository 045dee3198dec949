// Package logs is the embedded CloudWatch Logs: groups, streams and events in memory.
package logs

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// maxStreamBytes bounds the events of a stream, so that a task with much output does not
// exhaust memory. The oldest events are dropped first.
const maxStreamBytes = 1 << 20

type event struct {
	id        int64
	timestamp int64 // milliseconds since 1970
	ingested  int64
	text      string
}

type stream struct {
	name    string
	created time.Time
	events  []event // by time, then by arrival
	bytes   int
	dropped int // events removed from the front
}

type group struct {
	name      string
	created   time.Time
	retention *int32
	tags      map[string]string
	streams   map[string]*stream
}

// Store holds all log groups.
type Store struct {
	scope wire.Scope

	mu     sync.Mutex
	groups map[string]*group
	nextID int64
}

// NewStore returns a store without log groups.
func NewStore(scope wire.Scope) *Store {
	return &Store{scope: scope, groups: map[string]*group{}}
}

func (s *Store) arn(group string) string { return s.scope.ARN("logs", "log-group:"+group) }

func (s *Store) group(name string) (*group, error) {
	g, ok := s.groups[name]
	if !ok {
		return nil, wire.Errorf("ResourceNotFoundException", "The specified log group does not exist.")
	}
	return g, nil
}

func (s *Store) stream(group, name string) (*stream, error) {
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	st, ok := g.streams[name]
	if !ok {
		return nil, wire.Errorf("ResourceNotFoundException", "The specified log stream does not exist.")
	}
	return st, nil
}

// OpenStream creates a stream unless it exists, and with create also its group, as the
// awslogs driver does.
func (s *Store) OpenStream(groupName, streamName string, create bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.groups[groupName]; !ok && create {
		s.groups[groupName] = newGroup(groupName)
	}
	g, err := s.group(groupName)
	if err != nil {
		return err
	}
	if _, ok := g.streams[streamName]; !ok {
		g.streams[streamName] = newStream(streamName)
	}
	return nil
}

func newGroup(name string) *group {
	return &group{name: name, created: time.Now().UTC(), streams: map[string]*stream{}, tags: map[string]string{}}
}

func newStream(name string) *stream { return &stream{name: name, created: time.Now().UTC()} }

// Write adds an event to an open stream. If the stream was deleted, the event is lost.
func (s *Store) Write(groupName, streamName string, at time.Time, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st, err := s.stream(groupName, streamName); err == nil {
		s.add(st, at.UnixMilli(), text)
	}
}

// Size returns the size of a stream's messages in bytes.
func (s *Store) Size(groupName, streamName string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.stream(groupName, streamName)
	if err != nil {
		return 0
	}
	return st.bytes
}

func (s *Store) add(st *stream, at int64, text string) {
	s.nextID++
	e := event{id: s.nextID, timestamp: at, ingested: time.Now().UnixMilli(), text: text}
	i := sort.Search(len(st.events), func(i int) bool { return st.events[i].timestamp > at })
	st.events = slices.Insert(st.events, i, e)
	st.bytes += len(text)
	for st.bytes > maxStreamBytes && len(st.events) > 1 {
		st.bytes -= len(st.events[0].text)
		st.events = st.events[1:]
		st.dropped++
	}
}

// between returns the events in [from, to); nil means unbounded.
func (st *stream) between(from, to *int64) []event {
	i, j := 0, len(st.events)
	if from != nil {
		i = sort.Search(len(st.events), func(i int) bool { return st.events[i].timestamp >= *from })
	}
	if to != nil {
		j = sort.Search(len(st.events), func(i int) bool { return st.events[i].timestamp >= *to })
	}
	return st.events[i:max(i, j)]
}

func (g *group) sortedStreams() []*stream {
	return slices.SortedFunc(maps.Values(g.streams), func(a, b *stream) int { return cmp.Compare(a.name, b.name) })
}
