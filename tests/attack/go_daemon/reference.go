package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// reference keeps its pins in its own memory and takes no locks, as the daemons do that exist today.
// With it in the place of hlscache the race must lose files, or it would not notice if it did.
type reference struct {
	root    string
	mu      sync.Mutex
	writers map[string]bool
}

func newReference(root string) *reference {
	return &reference{root: root, writers: map[string]bool{}}
}

func (r *reference) DirFor(key string) string { return filepath.Join(r.root, key) }

func (r *reference) HasComplete(key string) bool {
	_, err := os.Stat(filepath.Join(r.DirFor(key), ".complete"))
	return err == nil
}

func (r *reference) VerifyComplete(key string, segmentCount int) bool {
	for _, file := range []string{"init.mp4", fmt.Sprintf("seg-%d.m4s", segmentCount-1)} {
		if _, err := os.Stat(filepath.Join(r.DirFor(key), "video", file)); err != nil {
			return false
		}
	}
	return r.HasComplete(key)
}

func (r *reference) MarkComplete(key string) error {
	return os.WriteFile(filepath.Join(r.DirFor(key), ".complete"), nil, 0o644)
}

func (r *reference) TryAcquireWriter(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writers[key] {
		return false
	}
	r.writers[key] = true
	return true
}

func (r *reference) ReleaseWriter(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.writers, key)
}

func (r *reference) Touch(key string) error {
	now := time.Now()
	return os.Chtimes(r.DirFor(key), now, now)
}

// Its pins hold off its own sweeper, of which there is none here.
func (r *reference) Pin(string)   {}
func (r *reference) Unpin(string) {}

func (r *reference) RecordHit()  {}
func (r *reference) RecordMiss() {}

func (r *reference) Invalidate(key string) error { return os.RemoveAll(r.DirFor(key)) }
