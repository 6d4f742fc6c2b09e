// Command go-race-daemon is a daemon of the race, like race::a_daemon, but in Go and in the reference's
// order of calls. Its sessions write and read back every byte, and note what they miss.
package main

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"log"
	"math/rand"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"go-daemon/hlscache"
)

const (
	keyCount = 48
	sessions = 2
)

// cache is what the sessions use of one.
type cache interface {
	DirFor(key string) string
	HasComplete(key string) bool
	VerifyComplete(key string, segmentCount int) bool
	MarkComplete(key string) error
	Pin(key string)
	Unpin(key string)
	TryAcquireWriter(key string) bool
	ReleaseWriter(key string)
	Touch(key string) error
	RecordHit()
	RecordMiss()
	Invalidate(key string) error
}

func main() {
	root := os.Getenv("ATTACK_ROOT")
	seed, err := strconv.ParseInt(os.Getenv("ATTACK_SEED"), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	log.SetOutput(os.Stderr)
	base := filepath.Dir(root)
	file, err := os.Create(filepath.Join(base, fmt.Sprintf("diary-%d", seed)))
	if err != nil {
		log.Fatal(err)
	}
	diary := &diary{file: file}
	var shared cache
	if os.Getenv("ATTACK_WITHOUT_LOCKS") != "" {
		shared = newReference(root)
	} else if shared, err = hlscache.NewHLSCache(root, 1); err != nil {
		log.Fatal(err)
	}
	if os.Getenv("ATTACK_EVENTS") != "" {
		appendEvents(shared, base, key(int(seed)), diary)
		return
	}
	var playing sync.WaitGroup
	for n := int64(0); n < sessions; n++ {
		playing.Add(1)
		s := session{shared, diary, rand.New(rand.NewSource(seed*sessions + n))}
		go func() {
			defer playing.Done()
			for {
				if _, err := os.Stat(filepath.Join(base, "stop")); err == nil {
					return
				}
				s.play()
			}
		}()
	}
	playing.Wait()
	diary.note("end")
}

// appendEvents logs hits until it is told to stop, and notes how many.
func appendEvents(cache cache, base, key string, diary *diary) {
	for appended := 0; ; appended++ {
		if _, err := os.Stat(filepath.Join(base, "stop")); err == nil {
			diary.note("appended %d", appended)
			return
		}
		if err := cache.Touch(key); err != nil {
			log.Fatal(err)
		}
	}
}

// diary is what the sessions saw, each line written at once so that a kill loses none.
type diary struct {
	mu   sync.Mutex
	file *os.File
}

func (d *diary) note(format string, values ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := fmt.Fprintf(d.file, format+"\n", values...); err != nil {
		log.Fatal(err)
	}
}

// The same films as race.rs has.

func key(n int) string {
	name := hex.EncodeToString([]byte(fmt.Sprintf("k%02d", n)))
	return name + strings.Repeat("0", 16-len(name))
}

func segments(key string) int {
	number, err := strconv.ParseUint(key, 16, 64)
	if err != nil {
		log.Fatal(err)
	}
	return int(2 + number/7%5)
}

func files(key string) []string {
	files := []string{"init.mp4"}
	for n := 0; n < segments(key); n++ {
		files = append(files, fmt.Sprintf("seg-%d.m4s", n))
	}
	return files
}

func content(key, file string) []byte {
	return bytes.Repeat([]byte(key+" "+file+"\n"), 50)
}

type session struct {
	cache
	diary *diary
	dice  *rand.Rand
}

func (s session) play() {
	// Some films are watched all the time, and those at the end so seldom that they are evicted.
	most := keyCount
	for n := 0; n < 3; n++ {
		most = s.dice.Intn(most) + 1
	}
	key := key(most - 1)
	count := segments(key)
	if s.dice.Intn(30) == 0 {
		_ = s.Invalidate(key) // as when the film was replaced
	}

	found := s.HasComplete(key)
	if found && !s.VerifyComplete(key, count) {
		s.diary.note("LOST go between HasComplete and VerifyComplete %s", key)
		_ = s.Invalidate(key)
		found = false
	}
	if s.dice.Intn(4) == 0 {
		found = s.HasComplete(key) // some callers ask again
	}
	switch {
	case found:
		s.hit(key)
	case s.TryAcquireWriter(key):
		s.miss(key)
	default:
		s.RecordMiss()
		s.diary.note("busy")
	}
}

func (s session) hit(key string) {
	s.wait(4) // others come and go between HasComplete and Pin
	s.Pin(key)
	defer s.Unpin(key)
	s.RecordHit()
	before, after := s.used(key), time.Time{}
	if err := s.Touch(key); err != nil {
		s.diary.note("LOST go reader %s: %v", key, err)
	} else if after = s.used(key); before != after {
		s.diary.note("hit %s %s %s", key, before.Format(time.RFC3339Nano), after.Format(time.RFC3339Nano))
	}
	s.serve(key)
}

func (s session) used(key string) time.Time {
	info, err := os.Lstat(s.DirFor(key))
	if err != nil {
		s.diary.note("LOST go reader %s: %v", key, err)
		return time.Time{}
	}
	return info.ModTime().UTC()
}

func (s session) miss(key string) {
	s.Pin(key)
	s.RecordMiss()
	s.diary.note("miss")
	video := filepath.Join(s.DirFor(key), "video")
	if err := os.MkdirAll(video, 0o755); err != nil {
		s.diary.note("LOST go writer %s: %v", key, err)
	}
	fails := s.dice.Intn(8)
	all := files(key)
	for n, file := range all {
		if err := os.WriteFile(filepath.Join(video, file), content(key, file), 0o644); err != nil {
			s.diary.note("LOST go writer %s %s: %v", key, file, err)
		}
		s.readBack("writer", key, all[:n+1])
		if n < 1 {
			continue
		}
		switch fails {
		case 0: // as a session that cannot be started ends
			s.Unpin(key)
			s.ReleaseWriter(key)
			_ = s.Invalidate(key)
			s.diary.note("discarded")
			return
		case 1: // as one ends that is closed too early
			_ = s.Invalidate(key)
			s.ReleaseWriter(key)
			s.Unpin(key)
			s.diary.note("discarded")
			return
		case 2:
			s.ReleaseWriter(key)
			s.Unpin(key)
			s.diary.note("left partial")
			return
		}
	}
	if err := s.MarkComplete(key); err != nil {
		// A session of this process that failed before has invalidated what this one took over.
		s.diary.note("not sealed: %v", err)
		_ = s.Invalidate(key)
	} else {
		s.diary.note("sealed %s by go", key)
		s.serve(key)
	}
	s.ReleaseWriter(key)
	s.Unpin(key)
}

func (s session) serve(key string) {
	for n := s.dice.Intn(3); n >= 0; n-- {
		s.readBack("reader", key, files(key))
		if s.dice.Intn(40) == 0 {
			time.Sleep(125 * time.Millisecond) // removers give up meanwhile
		} else {
			s.wait(8)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.DirFor(key), ".complete")); err != nil {
		s.diary.note("LOST go reader %s .complete: %v", key, err)
	}
}

func (s session) wait(most int) {
	if s.dice.Intn(4) == 0 {
		time.Sleep(time.Duration(s.dice.Intn(most)) * time.Millisecond)
	}
}

// readBack reads all that a pin promises.
func (s session) readBack(who, key string, files []string) {
	for _, file := range files {
		read, err := os.ReadFile(filepath.Join(s.DirFor(key), "video", file))
		if err != nil {
			s.diary.note("LOST go %s %s %s: %v", who, key, file, err)
		} else if !bytes.Equal(read, content(key, file)) {
			s.diary.note("LOST go %s %s %s: %d bytes", who, key, file, len(read))
		}
	}
}
