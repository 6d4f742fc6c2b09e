// Package hlscache is a daemon's side of an on-disk cache of HLS segments that hls-cache maintains.
// It needs Linux and the standard library.
//
// The locks that keep an entry from being removed while it is in use:
//
//   - {root}/.{key}.pin: whoever reads or writes the entry holds flock on it shared, and only a
//     remover takes it exclusive. That the file exists, what is in it and how old it is mean nothing:
//     the kernel releases the lock of a process that dies.
//   - {root}/.{key}.write: whoever writes the entry holds it exclusive.
//   - After locking, every party looks at the entry again and acts only on what it sees then.
//   - An entry leaves its name by one rename to a sibling, .trash.{key}.{random}, so no reader ever
//     sees half an entry, and .complete under a live name means whole after any crash.
//   - Lockfiles are never unlinked, read or written.
//
// The callers' order, which is safe as it is:
//
//	hit     HasComplete, VerifyComplete (false: Invalidate, a miss), Pin, RecordHit, Touch … Unpin
//	miss    TryAcquireWriter, Pin, RecordMiss, mkdir, ffmpeg … MarkComplete, ReleaseWriter, Unpin
//	error   Unpin, ReleaseWriter, Invalidate, in any order
//
// The callers look before they pin. So HasComplete that answers true is itself a use of the entry,
// until Pin takes it over or hlsLookLasts is over; and the writer is a user from TryAcquireWriter on.
//
// All methods may be called from any goroutine. Those that lock wait for a remover up to a second;
// MarkComplete waits for the disk, and Invalidate for others who have looked and not pinned yet.
package hlscache

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// How long a remover retries a refused lock before it means 'in use': another tool's probe holds
	// the lock for microseconds, a viewer for the length of a film.
	hlsRemoverPatience = 100 * time.Millisecond
	// How long a reader waits for a remover: a rename takes 60 µs, but a deletion in place (on a full
	// disk) can take longer than a viewer should wait for the first segment.
	hlsReaderPatience = time.Second
	// How long HasComplete protects an entry that nobody pins: long against the moment between
	// HasComplete and Pin even if a disk has to spin up for VerifyComplete, short against a sweep's
	// interval.
	hlsLookLasts = 3 * time.Second
	// Times a lockfile may be unlinked under us before that is an error and not bad luck.
	hlsReopens = 64
	// A smaller budget would evict a film in the middle of its first play.
	hlsLeastSizeGB = 1

	hlsComplete    = ".complete"
	hlsEventsLog   = ".events.log"
	hlsEncodeStamp = ".encode-stamp"

	// Missing from package syscall, and the same on every architecture that Go has for Linux.
	hlsOpenPath = 0x200000  // O_PATH
	hlsTimeNow  = 1<<30 - 1 // UTIME_NOW
)

// The number of the system call syncfs, which package syscall lacks.
var hlsSyncfs = map[string]uintptr{
	"386": 344, "amd64": 306, "arm": 373, "arm64": 267, "loong64": 267, "mips": 4342, "mipsle": 4342,
	"mips64": 5301, "mips64le": 5301, "ppc64": 348, "ppc64le": 348, "riscv64": 267, "s390x": 338,
}

var (
	hlsKeyPattern = regexp.MustCompile(`^[0-9a-f]{16}$`)
	errHLSInUse   = errors.New("in use")
)

// HLSCache is the cache in one directory, as one process takes part in it.
type HLSCache struct {
	root   string
	dir    *os.File // the root, opened once: locks and renames happen in the directory we started with
	sizeGB int

	hits, misses atomic.Uint64

	mu      sync.Mutex
	entries map[string]*hlsEntry // never removed: a hundred bytes for each key that was ever asked for
}

// hlsEntry is what this process holds of one entry.
type hlsEntry struct {
	key string
	// Held during everything below but syncfs and the deletion of trash, so that this process never
	// meets a lock of its own on the way.
	mu sync.Mutex
	// The shared lock. It is held for as long as any of the next three needs it.
	pin    *os.File
	pins   int         // Pin less Unpin
	looks  []time.Time // when each HasComplete that Pin has not taken over yet ends, oldest first
	writer *os.File    // the exclusive lock of a writer
	made   *os.File    // the writer's directory, held since mkdir
	// The directory that the last user takes with it, because Invalidate came while it was in use. An
	// Invalidate that waits for looks is the last one itself, and so has the error to return.
	doomed       hlsIdentity
	invalidating int
}

// hlsIdentity is which directory a name leads to; zero for none.
type hlsIdentity struct{ dev, ino uint64 }

// HLSCacheKeyOpts is what the key of an entry is computed from.
type HLSCacheKeyOpts struct {
	Source            string // a path, or with IsID an id (the hash of a torrent)
	IsID              bool
	Quality           string
	AudioIndex        int    // -1 for the default track
	BurnSubtitleIndex int    // -1 for none
	EncodeFingerprint string // every encoder setting that changes the bytes of a segment
}

// CacheStats is the hits and misses of this process, and what is on the disk.
type CacheStats struct {
	Hits, Misses uint64
	EntryCount   int
	TotalBytes   int64
}

// NewHLSCache opens the cache at root, which is created if need be, with a budget in GiB. All who use
// a cache must see it through the same mount.
func NewHLSCache(root string, sizeGB int) (*HLSCache, error) {
	if root == "" {
		return nil, errors.New("no directory given")
	}
	if sizeGB < hlsLeastSizeGB {
		sizeGB = hlsLeastSizeGB
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	// Free of symlinks, so that locks, renames and the paths of DirFor stay in one directory.
	resolved, err := filepath.EvalSymlinks(root)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenFile(resolved, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &HLSCache{root: resolved, dir: dir, sizeGB: sizeGB, entries: map[string]*hlsEntry{}}, nil
}

// ---- Keys

// KeyFor is the key of a file with a quality and an audio track (-1: the default one); empty, and so
// never cached, if sourcePath is.
func (c *HLSCache) KeyFor(sourcePath, quality string, audioIndex int) string {
	return hlsHash(sourcePath, false, fmt.Sprintf("|%s|%d", quality, audioIndex))
}

// Key is the key of a daemon that burns in subtitles and keeps its encoder settings in the key.
func (c *HLSCache) Key(o HLSCacheKeyOpts) string {
	return hlsHash(o.Source, o.IsID, fmt.Sprintf("|%s|%d|%d|%s",
		o.Quality, o.AudioIndex, o.BurnSubtitleIndex, o.EncodeFingerprint))
}

func hlsHash(source string, isID bool, rest string) string {
	if source == "" {
		return "" // Abs would make the working directory of it
	}
	if !isID {
		abs, err := filepath.Abs(source)
		if err != nil {
			return ""
		}
		source = abs
	}
	sum := sha256.Sum256([]byte(source + rest))
	return hex.EncodeToString(sum[:8])
}

// DirFor is where the entry is, or would be.
func (c *HLSCache) DirFor(key string) string { return filepath.Join(c.root, key) }

// entry is nil for what is not a key: no file of such a name belongs to the cache.
func (c *HLSCache) entry(key string) *hlsEntry {
	if !hlsKeyPattern.MatchString(key) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &hlsEntry{key: key}
		c.entries[key] = e
	}
	return e
}

// ---- Hit

// HasComplete reports whether the entry is sealed, and if so keeps it from being removed until Pin, or
// for hlsLookLasts. It is false, for a play without the cache, where the lock cannot be had in time.
func (c *HLSCache) HasComplete(key string) bool {
	// Without the lock first: a lockfile for every key that is ever asked for would be litter.
	e := c.entry(key)
	if e == nil || !c.isSealed(key) {
		return false
	}
	held := c.hold(e)
	defer c.letGo(e)
	// Again under the lock: before it, a remover could still take the entry away.
	if !held || e.doomed != (hlsIdentity{}) || !c.isSealed(key) {
		return false
	}
	e.looks = append(e.looks, time.Now().Add(hlsLookLasts))
	time.AfterFunc(hlsLookLasts, func() {
		e.mu.Lock()
		c.letGo(e)
	})
	return true
}

// VerifyComplete is a quick check of a sealed entry: the init segment and the last one of segmentCount
// are there and not empty. It answers HasComplete's caller: false ends the protection that this caller
// got from HasComplete, because it will not pin.
func (c *HLSCache) VerifyComplete(key string, segmentCount int) bool {
	files := []string{"init.mp4"}
	if segmentCount > 0 {
		files = append(files, fmt.Sprintf("seg-%d.m4s", segmentCount-1))
	}
	whole := hlsKeyPattern.MatchString(key) && c.isSealed(key)
	for _, file := range files {
		if info, err := os.Stat(filepath.Join(c.root, key, "video", file)); err != nil || info.Size() == 0 {
			whole = false
		}
	}
	if e := c.entry(key); e != nil && !whole {
		e.mu.Lock()
		e.endLook()
		c.letGo(e)
	}
	return whole
}

// Pin keeps the entry from being removed until as many Unpin. It never fails after HasComplete or
// TryAcquireWriter; alone, it waits a second for a remover.
func (c *HLSCache) Pin(key string) {
	e := c.entry(key)
	if e == nil {
		return
	}
	c.hold(e)
	e.pins++
	e.endLook()
	c.letGo(e)
}

// Unpin undoes one Pin; harmless on keys that are not pinned.
func (c *HLSCache) Unpin(key string) {
	e := c.entry(key)
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.pins > 0 {
		e.pins--
	}
	c.letGo(e)
}

// Touch makes the entry the most recently used one, and logs the hit.
func (c *HLSCache) Touch(key string) error {
	if !hlsKeyPattern.MatchString(key) {
		return fmt.Errorf("not a key: %q", key)
	}
	if _, err := c.identify(key); err != nil {
		return err
	}
	c.logEvent("hit", key)
	// By the kernel's clock, and both times: that takes no more than the right to write.
	now := syscall.Timespec{Nsec: hlsTimeNow}
	if err := syscall.UtimesNano(c.DirFor(key), []syscall.Timespec{now, now}); err != nil {
		return &os.PathError{Op: "touch", Path: c.DirFor(key), Err: err}
	}
	return nil
}

// ---- Miss

// TryAcquireWriter makes this process the one writer of the entry, whose directory it makes, and logs
// the miss. False: somebody else writes it or has sealed it meanwhile, so transcode elsewhere.
func (c *HLSCache) TryAcquireWriter(key string) bool {
	e := c.entry(key)
	if e == nil {
		return false
	}
	// The pin is shared before mkdir, so that no remover ever sees the entry unpinned.
	held := c.hold(e)
	defer c.letGo(e)
	if !held || e.writer != nil || e.doomed != (hlsIdentity{}) {
		return false
	}
	writer, err := c.lock("."+key+".write", syscall.LOCK_EX, time.Time{})
	if err != nil {
		if !errors.Is(err, errHLSInUse) {
			log.Printf("[hls_cache] %s is not cached: %v", key, err)
		}
		return false
	}
	// Only the writer seals, so what is not sealed now stays so.
	if c.isSealed(key) {
		hlsUnlock(writer)
		return false
	}
	made, err := c.makeEntry(key)
	if err != nil {
		hlsUnlock(writer)
		log.Printf("[hls_cache] %s is not cached: %v", key, err)
		return false
	}
	e.writer, e.made = writer, made
	c.logEvent("miss", key)
	return true
}

// makeEntry makes the directory, or opens the one that an earlier encode left. The caller's own mkdir
// finds it there. It is made here so that its descriptor can be held from the start: whatever happens
// to the name, the marker lands in this directory or nowhere.
func (c *HLSCache) makeEntry(key string) (*os.File, error) {
	err := hlsRetry(func() error { return syscall.Mkdirat(int(c.dir.Fd()), key, 0o755) })
	if err != nil && err != syscall.EEXIST {
		return nil, &os.PathError{Op: "mkdir", Path: c.DirFor(key), Err: err}
	}
	return c.openEntry(key, syscall.O_RDONLY)
}

// MarkComplete seals the entry, whose files must be written and closed. Everything is on the disk
// before the marker is: without that, a power cut left a sealed entry with every segment wrong.
func (c *HLSCache) MarkComplete(key string) error {
	e := c.entry(key)
	if e == nil {
		return fmt.Errorf("cannot seal %q: not a key", key)
	}
	held := c.hold(e)
	defer c.letGo(e)
	if !held {
		return fmt.Errorf("cannot seal %s: it is not locked", key)
	}
	if e.writer == nil {
		// Whoever did not ask TryAcquireWriter is the writer for as long as this takes.
		writer, err := c.lock("."+key+".write", syscall.LOCK_EX, time.Time{})
		if err != nil {
			return fmt.Errorf("cannot seal %s: %w", key, err)
		}
		made, err := c.openEntry(key, syscall.O_RDONLY)
		if err != nil {
			hlsUnlock(writer)
			return err
		}
		e.writer, e.made = writer, made
		defer e.endWriting()
	}

	made := e.made
	e.mu.Unlock()
	err := hlsSync(made) // minutes, on a slow disk: others may look meanwhile
	e.mu.Lock()
	if err != nil {
		return &os.PathError{Op: "syncfs", Path: c.DirFor(key), Err: err}
	}
	if e.made != made || e.doomed != (hlsIdentity{}) {
		return fmt.Errorf("cannot seal %s: it was released or invalidated meanwhile", key)
	}
	ours, err := hlsIdentify(made)
	if err != nil {
		return err
	}
	if named, err := c.identify(key); err != nil || named != ours {
		return fmt.Errorf("cannot seal %s: it was removed while it was written", key)
	}
	// O_NONBLOCK: a FIFO of that name would hang the daemon.
	marker, err := hlsOpenAt(made, hlsComplete, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_NONBLOCK, 0o644)
	if err != nil {
		return err
	}
	return marker.Close()
}

// ReleaseWriter ends TryAcquireWriter; harmless on keys that this process does not write.
func (c *HLSCache) ReleaseWriter(key string) {
	e := c.entry(key)
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.writer != nil {
		// The directory, if nobody wrote anything into it; one that is not empty stays.
		_ = syscall.Rmdir(c.DirFor(key))
		e.endWriting()
	}
	c.letGo(e)
}

func (e *hlsEntry) endWriting() {
	_ = e.made.Close()
	hlsUnlock(e.writer)
	e.writer, e.made = nil, nil
}

// ---- Removal

// Invalidate removes the entry, whatever its state: it is damaged, or its encode failed. What this
// process itself uses goes with its last user, and until then is no hit for anybody else here. What
// another process uses stays, which is an error.
func (c *HLSCache) Invalidate(key string) error {
	e := c.entry(key)
	if e == nil {
		return fmt.Errorf("cannot invalidate %q: not a key", key)
	}
	e.mu.Lock()
	found, err := c.identify(key)
	if err != nil {
		c.letGo(e)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	e.doomed = found
	// From here on HasComplete answers false, so this ends: whoever has looked pins soon, or never.
	e.invalidating++
	for e.pins == 0 && e.writer == nil && e.isLookedAt() {
		e.mu.Unlock()
		time.Sleep(hlsReaderPatience / 100)
		e.mu.Lock()
	}
	e.invalidating--
	return c.settle(e)
}

// letGo is settle for callers that have nobody to tell.
func (c *HLSCache) letGo(e *hlsEntry) {
	if err := c.settle(e); err != nil {
		log.Printf("[hls_cache] %v", err)
	}
}

// settle ends what began with e.mu held: it closes the pin if nobody here needs it any more, then
// removes what Invalidate left to the last user, and releases e.mu.
func (c *HLSCache) settle(e *hlsEntry) error {
	if e.isUsed() {
		e.mu.Unlock()
		return nil
	}
	doomed := e.doomed
	e.doomed = hlsIdentity{}
	var trash string
	var err error
	if doomed != (hlsIdentity{}) {
		trash, err = c.remove(e, doomed)
	}
	e.unpin()
	e.mu.Unlock()
	if trash != "" {
		// Anybody may delete trash at any time; what stays of it is the next sweep's.
		if failed := os.RemoveAll(filepath.Join(c.root, trash)); failed != nil && err == nil {
			err = fmt.Errorf("%s is removed, but not deleted: %w", e.key, failed)
		}
	}
	return err
}

// remove takes the entry from its name, under the exclusive lock; what is returned may be deleted
// without it.
func (c *HLSCache) remove(e *hlsEntry, doomed hlsIdentity) (trash string, err error) {
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("cannot remove %s: %w", e.key, err)
	}
	// The writer's lock first, so that nobody writes into what is about to go.
	writer, err := c.lock("."+e.key+".write", syscall.LOCK_EX, time.Now().Add(hlsRemoverPatience))
	if err != nil {
		return failed(err)
	}
	defer hlsUnlock(writer)
	// Closed, not upgraded: a failed upgrade would lose it all the same.
	e.unpin()
	// Failing to lock means 'do not remove', on a full disk too: there, the next sweep knows what to do.
	exclusive, err := c.lock("."+e.key+".pin", syscall.LOCK_EX, time.Now().Add(hlsRemoverPatience))
	if err != nil {
		return failed(err)
	}
	defer hlsUnlock(exclusive)
	found, err := c.identify(e.key)
	if errors.Is(err, fs.ErrNotExist) || err == nil && found != doomed {
		return "", nil // somebody else removed it, and perhaps made another
	}
	if err == nil {
		err = c.checkNoMounts(e.key)
	}
	if err != nil {
		return failed(err)
	}

	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return failed(err)
	}
	trash = ".trash." + e.key + "." + hex.EncodeToString(random)
	dir := int(c.dir.Fd())
	err = hlsRetry(func() error { return syscall.Renameat(dir, e.key, dir, trash) })
	inPlace := false
	switch err {
	case nil:
		// On mergerfs a rename can succeed and leave the source behind.
		left, err := c.identify(e.key)
		inPlace = err == nil && left == doomed
	case syscall.ENOSPC, syscall.EDQUOT, syscall.EXDEV:
		inPlace = true
	default:
		return failed(err)
	}
	if inPlace {
		// Under the lock, and the marker first: nobody may take for whole what goes piece by piece.
		err = os.RemoveAll(filepath.Join(c.root, e.key, hlsComplete))
		if err == nil {
			err = os.RemoveAll(c.DirFor(e.key))
		}
		if err != nil {
			return failed(err)
		}
	}
	return trash, nil
}

// checkNoMounts fails if anything is mounted on or under the entry, whose deletion would go on in
// there. Places in the file system are compared, not paths: the mount may have been made through
// another mount of it.
func (c *HLSCache) checkNoMounts(key string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", c.dir.Fd()))
	if err != nil {
		return err
	}
	_, ours, _ := strings.Cut(string(status), "mnt_id:")
	ours, _, _ = strings.Cut(ours, "\n")

	type mount struct{ parent, device, root, point string }
	mounts := map[string]mount{}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for _, line := range strings.Split(string(table), "\n") {
		// ID PARENT MAJOR:MINOR ROOT MOUNT-POINT …
		if f := strings.Fields(line); len(f) > 4 {
			mounts[f[0]] = mount{f[1], f[2], unescape.Replace(f[3]), unescape.Replace(f[4])}
		}
	}
	place := func(in mount, path string) string {
		return in.device + filepath.Join("/", in.root, strings.TrimPrefix(path, in.point))
	}
	root, ok := mounts[strings.TrimSpace(ours)]
	if !ok {
		return errors.New("its mount is not in /proc/self/mountinfo")
	}
	entry := place(root, c.DirFor(key))
	for _, m := range mounts {
		if parent, ok := mounts[m.parent]; ok {
			if at := place(parent, m.point); at == entry || strings.HasPrefix(at, entry+"/") {
				return fmt.Errorf("something is mounted at %s", m.point)
			}
		}
	}
	return nil
}

// ---- Locks

func (e *hlsEntry) isUsed() bool {
	return e.pins > 0 || e.writer != nil || e.invalidating > 0 || e.isLookedAt()
}

// isLookedAt reports whether somebody has looked and may be about to pin.
func (e *hlsEntry) isLookedAt() bool {
	for len(e.looks) > 0 && !e.looks[0].After(time.Now()) {
		e.looks = e.looks[1:]
	}
	return len(e.looks) > 0
}

// endLook takes back the oldest look: whoever looked pins now, or has decided not to.
func (e *hlsEntry) endLook() {
	if len(e.looks) > 0 {
		e.looks = e.looks[1:]
	}
}

// hold makes sure that this process has the entry locked shared, and returns with e.mu held. False if
// it cannot be had, because a remover had it for hlsReaderPatience or otherwise.
func (c *HLSCache) hold(e *hlsEntry) bool {
	// From before e.mu: who queues behind others of this process waits no longer than they.
	deadline := time.Now().Add(hlsReaderPatience)
	e.mu.Lock()
	if e.pin == nil {
		pin, err := c.lock("."+e.key+".pin", syscall.LOCK_SH, deadline)
		if err != nil {
			log.Printf("[hls_cache] cannot pin %s: %v", e.key, err)
			return false
		}
		e.pin = pin
	}
	return true
}

func (e *hlsEntry) unpin() {
	if e.pin != nil {
		hlsUnlock(e.pin)
		e.pin = nil
	}
}

// lock opens and locks a lockfile, which is created if need be. A refused lock is tried again until the
// deadline, since flock has no time limit of its own; then it is errHLSInUse.
func (c *HLSCache) lock(name string, how int, deadline time.Time) (*os.File, error) {
	for reopened := 0; reopened < hlsReopens; reopened++ {
		file, err := c.openLockfile(name)
		if err != nil {
			return nil, err
		}
		for {
			err = hlsRetry(func() error { return syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB) })
			if err != syscall.EWOULDBLOCK || !time.Now().Before(deadline) {
				break
			}
			time.Sleep(hlsRemoverPatience / 100)
		}
		if err == syscall.EWOULDBLOCK {
			err = errHLSInUse
		}
		var stat syscall.Stat_t
		if err == nil {
			err = syscall.Fstat(int(file.Fd()), &stat)
		}
		if err != nil {
			file.Close()
			return nil, &os.PathError{Op: "lock", Path: file.Name(), Err: err}
		}
		if stat.Nlink > 0 {
			return file, nil
		}
		// Somebody unlinked it before we had the lock: the others lock another file of this name.
		file.Close()
	}
	return nil, &os.PathError{Op: "lock", Path: filepath.Join(c.root, name), Err: syscall.ESTALE}
}

// hlsUnlock unlocks before it closes: a child that is being forked at this moment has the descriptor
// too, and would keep the lock until it executes its program.
func hlsUnlock(file *os.File) {
	_ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	_ = file.Close()
}

func (c *HLSCache) openLockfile(name string) (*os.File, error) {
	for reopened := 0; reopened < hlsReopens; reopened++ {
		// Writable where it can be: NFS grants an exclusive lock on nothing else.
		file, err := hlsOpenAt(c.dir, name, syscall.O_RDWR|syscall.O_NONBLOCK, 0)
		if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EROFS) {
			file, err = hlsOpenAt(c.dir, name, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
		}
		if errors.Is(err, fs.ErrNotExist) {
			file, err = c.create(name)
			if errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
			file.Close()
			return nil, fmt.Errorf("%s is not a regular file", file.Name())
		}
		return file, nil
	}
	return nil, &os.PathError{Op: "open", Path: filepath.Join(c.root, name), Err: syscall.ESTALE}
}

// create makes a file for everybody who uses the cache: with the root's mode whatever the umask, and if
// root makes it, with the root directory's owner. A file that is there already keeps its owner and mode:
// a hard link planted here would hand over any file.
func (c *HLSCache) create(name string) (*os.File, error) {
	var root syscall.Stat_t
	if err := syscall.Fstat(int(c.dir.Fd()), &root); err != nil {
		return nil, &os.PathError{Op: "stat", Path: c.root, Err: err}
	}
	mode := uint32(root.Mode) & 0o666
	file, err := hlsOpenAt(c.dir, name, syscall.O_RDWR|syscall.O_CREAT|syscall.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	// Failing is no error: a file system that keeps no owners and modes has none to get wrong.
	_ = syscall.Fchmod(int(file.Fd()), mode)
	if os.Geteuid() == 0 {
		_ = syscall.Fchown(int(file.Fd()), int(root.Uid), int(root.Gid))
	}
	return file, nil
}

// ---- Looking

// isSealed reports whether an entry, which is a real directory, has anything named .complete in it.
func (c *HLSCache) isSealed(key string) bool {
	dir, err := c.openEntry(key, hlsOpenPath)
	if err != nil {
		return false
	}
	defer dir.Close()
	marker, err := hlsOpenAt(dir, hlsComplete, hlsOpenPath, 0)
	if err != nil {
		return false
	}
	marker.Close()
	return true
}

// identify finds out which directory has the name of the entry.
func (c *HLSCache) identify(key string) (hlsIdentity, error) {
	dir, err := c.openEntry(key, hlsOpenPath)
	if err != nil {
		return hlsIdentity{}, err
	}
	defer dir.Close()
	return hlsIdentify(dir)
}

func hlsIdentify(dir *os.File) (hlsIdentity, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(dir.Fd()), &stat); err != nil {
		return hlsIdentity{}, &os.PathError{Op: "stat", Path: dir.Name(), Err: err}
	}
	return hlsIdentity{uint64(stat.Dev), uint64(stat.Ino)}, nil
}

func (c *HLSCache) openEntry(key string, flags int) (*os.File, error) {
	return hlsOpenAt(c.dir, key, flags|syscall.O_DIRECTORY, 0)
}

// hlsOpenAt opens a name in a directory, and never what a symlink of that name leads to.
func hlsOpenAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	flags |= syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	var fd int
	err := hlsRetry(func() (err error) {
		fd, err = syscall.Openat(int(dir.Fd()), name, flags, mode)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// hlsSync waits until everything in the file system is on the disk.
func hlsSync(file *os.File) error {
	number, known := hlsSyncfs[runtime.GOARCH]
	if !known {
		syscall.Sync() // all file systems, which is more than need be
		return nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var errno syscall.Errno
	if err := raw.Control(func(fd uintptr) { _, _, errno = syscall.Syscall(number, fd, 0, 0) }); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// hlsRetry repeats a call that a signal interrupted, which Go's own preemption can be.
func hlsRetry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// ---- Events and numbers

// RecordHit counts a hit of this process; Touch logs it, since this has no key.
func (c *HLSCache) RecordHit() { c.hits.Add(1) }

// RecordMiss counts a miss of this process; TryAcquireWriter logs it.
func (c *HLSCache) RecordMiss() { c.misses.Add(1) }

// logEvent appends to the log from which hls-cache computes the hit rate. A log that cannot be written
// to fails nobody.
func (c *HLSCache) logEvent(event, key string) {
	if err := c.appendEvent(fmt.Sprintf("%d %s %s\n", time.Now().Unix(), event, key)); err != nil {
		log.Printf("[hls_cache] cannot log a %s: %v", event, err)
	}
}

// appendEvent opens the log each time, so that renaming it loses no event.
func (c *HLSCache) appendEvent(line string) error {
	flags := syscall.O_RDWR | syscall.O_APPEND | syscall.O_NONBLOCK
	file, err := hlsOpenAt(c.dir, hlsEventsLog, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		created, err := c.create(hlsEventsLog)
		if err == nil {
			created.Close()
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if file, err = hlsOpenAt(c.dir, hlsEventsLog, flags, 0); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	defer file.Close()
	var stat syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &stat); err != nil {
		return err
	}
	// One name: a hard link planted here would have us write into somebody else's file.
	if stat.Mode&syscall.S_IFMT != syscall.S_IFREG || stat.Nlink != 1 {
		return fmt.Errorf("%s is not a regular file with one name", file.Name())
	}
	last := []byte{'\n'}
	if stat.Size > 0 {
		_, _ = file.ReadAt(last, stat.Size-1)
	}
	if last[0] != '\n' {
		line = "\n" + line // a full disk cut the last line short
	}
	// One write: of two, another process's line could come between.
	_, err = syscall.Write(int(file.Fd()), []byte(line))
	return err
}

// Stats counts the entries and the bytes in them, which takes a look at every segment.
func (c *HLSCache) Stats() CacheStats {
	stats := CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load()}
	keys, err := c.keys()
	if err != nil {
		log.Printf("[hls_cache] %v", err)
	}
	for _, key := range keys {
		stats.EntryCount++
		// What vanishes meanwhile, or cannot be read, is not counted.
		_ = filepath.WalkDir(c.DirFor(key), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if info, err := d.Info(); err == nil {
					stats.TotalBytes += info.Size()
				}
			}
			return nil
		})
	}
	return stats
}

// keys lists the entries: real directories whose names are keys.
func (c *HLSCache) keys() ([]string, error) {
	names, err := os.ReadDir(c.root)
	var keys []string
	for _, name := range names {
		if name.IsDir() && hlsKeyPattern.MatchString(name.Name()) {
			keys = append(keys, name.Name())
		}
	}
	return keys, err
}

// ---- Maintenance

// Sweep runs hls-cache, the one maintainer, to evict least recently used entries down to the budget.
// It returns the bytes freed. HLS_CACHE_PROGRAM names the program where it is not in PATH.
func (c *HLSCache) Sweep() (int64, error) { return c.sweep(context.Background()) }

func (c *HLSCache) sweep(ctx context.Context) (int64, error) {
	program := os.Getenv("HLS_CACHE_PROGRAM")
	if program == "" {
		program = "hls-cache"
	}
	budget := fmt.Sprintf("%dGiB", c.sizeGB)
	cmd := exec.CommandContext(ctx, program, "--root", c.root, "--json", "sweep", "--max-size", budget)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("cannot sweep: %w; install hls-cache, or name it in HLS_CACHE_PROGRAM", err)
	}
	said := strings.TrimSpace(stderr.String())
	const limitNotMet, busy = 3, 4
	code := cmd.ProcessState.ExitCode()
	if code == busy {
		return 0, nil // another maintainer is doing the same work
	}
	var report struct {
		FreedBytes int64 `json:"freed_bytes"`
	}
	if json.Unmarshal(stdout.Bytes(), &report) != nil || code != 0 && code != limitNotMet {
		return report.FreedBytes, fmt.Errorf("%s sweep: %v: %s", program, cmd.ProcessState, said)
	}
	if said != "" {
		log.Printf("[hls_cache] sweep: %s", said)
	}
	return report.FreedBytes, nil
}

// StartSweeper sweeps every interval (hourly, if that is not positive) until ctx is done. Killing a
// sweep is safe at any point.
func (c *HLSCache) StartSweeper(ctx context.Context, interval time.Duration) {
	if interval <= 0 {
		interval = time.Hour
	}
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if _, err := c.sweep(ctx); err != nil && ctx.Err() == nil {
					log.Printf("[hls_cache] %v", err)
				}
			}
		}
	}()
}

type hlsStamp struct {
	Fingerprint *string `json:"fingerprint"`
}

// ReconcileEncodeConfig is for the start of a daemon whose keys have the encoder settings in them:
// entries of other settings can never be hits again. It removes them all, except what is in use, if the
// settings that the root's .encode-stamp names are not these, and returns how many; then it writes
// these. A root without a stamp gets one, and keeps its entries.
func (c *HLSCache) ReconcileEncodeConfig(fingerprint string) (int, error) {
	before, err := c.readStamp()
	if err != nil {
		return 0, err
	}
	if before != nil && *before == fingerprint {
		return 0, nil
	}
	removed := 0
	var first error // what cannot be removed must not keep the rest
	if before != nil {
		keys, err := c.keys()
		first = err
		for _, key := range keys {
			e := c.entry(key)
			e.mu.Lock()
			found, err := c.identify(key)
			if err != nil || e.isUsed() {
				c.letGo(e)
				continue
			}
			e.doomed = found
			err = c.settle(e)
			if left, gone := c.identify(key); gone != nil || left != found {
				removed++
			}
			if err != nil && first == nil && !errors.Is(err, errHLSInUse) {
				first = err
			}
		}
	}
	if err := c.writeStamp(fingerprint); err != nil && first == nil {
		first = err
	}
	return removed, first
}

// readStamp is nil where there is none, or none that can be understood: that is no evidence against
// any entry.
func (c *HLSCache) readStamp() (*string, error) {
	file, err := hlsOpenAt(c.dir, hlsEncodeStamp, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var stamp hlsStamp
	if err := json.NewDecoder(file).Decode(&stamp); err != nil {
		log.Printf("[hls_cache] %s is taken for none: %v", file.Name(), err)
		return nil, nil
	}
	return stamp.Fingerprint, nil
}

// writeStamp writes beside it and renames, so that nobody ever reads half a stamp.
func (c *HLSCache) writeStamp(fingerprint string) error {
	text, err := json.Marshal(hlsStamp{&fingerprint})
	if err != nil {
		return err
	}
	const beside = hlsEncodeStamp + ".new"
	_ = os.Remove(filepath.Join(c.root, beside)) // of a daemon that died here
	file, err := c.create(beside)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(append(text, '\n')); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(c.root, beside), filepath.Join(c.root, hlsEncodeStamp))
}
