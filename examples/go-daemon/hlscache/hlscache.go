// Package hlscache is a daemon's side of an on-disk cache of HLS segments that hls-cache maintains.
// It needs Linux and the standard library.
//
// The locks that keep an entry from being removed while it is in use:
//
//   - {root}/.{key}.pin: readers and the writer of the entry hold flock on it shared, and only a
//     remover takes it exclusive. Existence, content and age of the file mean nothing: the kernel
//     releases the lock of a process that dies.
//   - {root}/.{key}.write: the writer of the entry holds it exclusive.
//   - After locking, every party examines the entry again and acts only on what it finds then.
//   - The holder of the exclusive pin removes the entry by one rename to a sibling,
//     .trash.{key}.{random}. So no reader ever sees half an entry, and an entry in which .complete
//     exists under the entry's own name is whole, after any crash.
//   - Lockfiles are never unlinked, read or written.
//
// Callers use the methods in this order:
//
//	hit     HasComplete, VerifyComplete (false: Invalidate, a miss), Pin, RecordHit, Touch … Unpin
//	miss    TryAcquireWriter, Pin, RecordMiss, mkdir, ffmpeg … MarkComplete, ReleaseWriter, Unpin
//	error   Unpin, ReleaseWriter, Invalidate, in any order
//
// Callers check before they pin. So a HasComplete that returns true protects the entry itself, until
// Pin takes over or hlsPinGrace has passed; the writer is protected from TryAcquireWriter on.
//
// All methods may be called from any goroutine. Those that lock wait up to a second for a remover;
// MarkComplete waits for the disk, and Invalidate for callers of HasComplete that have not pinned yet.
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
	// How long a remover retries before it takes a refused lock for 'in use': another tool's probe holds
	// the lock for microseconds, a viewer for the length of a film.
	hlsRemoverPatience = 100 * time.Millisecond
	// How long a reader waits for a remover: a rename takes 60 µs, but a deletion in place (on a full
	// disk) can take longer than a viewer should wait for the first segment.
	hlsReaderPatience = time.Second
	// How long HasComplete protects an entry that nobody pins: long against the moment between
	// HasComplete and Pin even if a disk has to spin up for VerifyComplete, short against a sweep's
	// interval.
	hlsPinGrace = 3 * time.Second
	// How often somebody may unlink a lockfile while we lock it before lock returns an error.
	hlsReopens = 64
	// A smaller budget would evict a film in the middle of its first play.
	hlsLeastSizeGB = 1

	hlsComplete    = ".complete"
	hlsEventsLog   = ".events.log"
	hlsEncodeStamp = ".encode-stamp"

	// Package syscall lacks these; they have the same values on every Linux architecture of Go.
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

// HLSCache is one process's access to the cache in one directory.
type HLSCache struct {
	root   string
	dir    *os.File // the root, opened once, so that all locks and renames happen in the same directory
	sizeGB int

	hits, misses atomic.Uint64

	mu      sync.Mutex
	entries map[string]*hlsEntry // never removed: a hundred bytes for each key that was ever asked for
}

// hlsEntry holds the locks and users of one entry in this process.
type hlsEntry struct {
	key string
	// Held during every operation but syncfs and the deletion of trash, so that this process never runs
	// into a lock of its own.
	mu sync.Mutex
	// The shared lock, held while any of the next three fields needs it.
	pin         *os.File
	pins        int         // Pin less Unpin
	pendingHits []time.Time // deadlines of the hits that Pin has not taken over yet, oldest first
	writer      *os.File    // the exclusive lock of a writer
	made        *os.File    // the writer's directory, open since mkdir
	// The directory that the last user removes, because Invalidate was called while the entry was in use. An
	// Invalidate that waits for pending hits is the last user itself, and so returns the error of the removal.
	doomed       hlsIdentity
	invalidating int
}

// hlsIdentity identifies the directory of a name; zero if there is none.
type hlsIdentity struct{ dev, ino uint64 }

// HLSCacheKeyOpts holds the parts from which the key of an entry is computed.
type HLSCacheKeyOpts struct {
	Source            string // a path, or with IsID an id (the hash of a torrent)
	IsID              bool
	Quality           string
	AudioIndex        int    // -1 for the default track
	BurnSubtitleIndex int    // -1 for none
	EncodeFingerprint string // every encoder setting that changes the bytes of a segment
}

// CacheStats holds the hits and misses of this process, and the entries and bytes on the disk.
type CacheStats struct {
	Hits, Misses uint64
	EntryCount   int
	TotalBytes   int64
}

// NewHLSCache opens the cache at root, with a budget in GiB, and creates root if necessary. All parties
// must use the same mount of the cache.
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

// KeyFor returns the key of a file with a quality and an audio track (-1: the default one). It is empty, and
// so never cached, if sourcePath is empty.
func (c *HLSCache) KeyFor(sourcePath, quality string, audioIndex int) string {
	return hlsHash(sourcePath, false, fmt.Sprintf("|%s|%d", quality, audioIndex))
}

// Key returns the key that a daemon uses if it burns in subtitles and has its encoder settings in the key.
func (c *HLSCache) Key(o HLSCacheKeyOpts) string {
	return hlsHash(o.Source, o.IsID, fmt.Sprintf("|%s|%d|%d|%s",
		o.Quality, o.AudioIndex, o.BurnSubtitleIndex, o.EncodeFingerprint))
}

func hlsHash(source string, isID bool, rest string) string {
	if source == "" {
		return "" // Abs would turn it into the working directory
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

// DirFor returns the path of the entry, whether or not it exists.
func (c *HLSCache) DirFor(key string) string { return filepath.Join(c.root, key) }

// entry returns nil if key is not a key: no file of such a name belongs to the cache.
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
// for hlsPinGrace. It returns false if it cannot lock the entry in time: then play without the cache.
func (c *HLSCache) HasComplete(key string) bool {
	// Check without the lock first, so that requests for entries that do not exist leave no lockfiles.
	e := c.entry(key)
	if e == nil || !c.isSealed(key) {
		return false
	}
	held := c.hold(e)
	defer c.letGo(e)
	// Check again under the lock: before it, a remover could still remove the entry.
	if !held || e.doomed != (hlsIdentity{}) || !c.isSealed(key) {
		return false
	}
	e.pendingHits = append(e.pendingHits, time.Now().Add(hlsPinGrace))
	time.AfterFunc(hlsPinGrace, func() {
		e.mu.Lock()
		c.letGo(e)
	})
	return true
}

// VerifyComplete checks quickly that a sealed entry has an init segment and the last of segmentCount segments,
// and that both are not empty. Call it after HasComplete: false ends the protection that HasComplete
// gave, because the caller will not pin.
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
		e.endPendingHit()
		c.letGo(e)
	}
	return whole
}

// Pin keeps the entry from being removed until as many calls of Unpin. After HasComplete or TryAcquireWriter it
// never fails; otherwise it waits up to a second for a remover.
func (c *HLSCache) Pin(key string) {
	e := c.entry(key)
	if e == nil {
		return
	}
	c.hold(e)
	e.pins++
	e.endPendingHit()
	c.letGo(e)
}

// Unpin undoes one Pin. It has no effect on keys that are not pinned.
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
	// Set both times to the kernel's clock, which needs only write permission.
	now := syscall.Timespec{Nsec: hlsTimeNow}
	if err := syscall.UtimesNano(c.DirFor(key), []syscall.Timespec{now, now}); err != nil {
		return &os.PathError{Op: "touch", Path: c.DirFor(key), Err: err}
	}
	return nil
}

// ---- Miss

// TryAcquireWriter makes this process the only writer of the entry, creates its directory and logs the
// miss. It returns false if another process writes the entry or has sealed it: then transcode elsewhere.
func (c *HLSCache) TryAcquireWriter(key string) bool {
	e := c.entry(key)
	if e == nil {
		return false
	}
	// Lock the pin shared before mkdir, so that no remover ever finds the entry unpinned.
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
	// Only the writer seals, so an entry that is partial now stays partial.
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

// makeEntry creates the directory, or opens the one that an earlier encode left. The caller's own mkdir
// finds it there. Its descriptor stays open from the start, so that MarkComplete creates the marker in this
// directory or not at all, whatever happens to the name.
func (c *HLSCache) makeEntry(key string) (*os.File, error) {
	err := hlsRetry(func() error { return syscall.Mkdirat(int(c.dir.Fd()), key, 0o755) })
	if err != nil && err != syscall.EEXIST {
		return nil, &os.PathError{Op: "mkdir", Path: c.DirFor(key), Err: err}
	}
	return c.openEntry(key, syscall.O_RDONLY)
}

// MarkComplete seals the entry, whose files must be written and closed. It waits until they are on the disk
// before it creates the marker: otherwise a power cut left a sealed entry with every segment wrong.
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
		// A caller without TryAcquireWriter is the writer during this call.
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
	err := hlsSync(made) // takes minutes on a slow disk; other calls may check the entry meanwhile
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

// ReleaseWriter undoes TryAcquireWriter. It has no effect on keys that this process does not write.
func (c *HLSCache) ReleaseWriter(key string) {
	e := c.entry(key)
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.writer != nil {
		// Removes the directory if nobody wrote anything into it; rmdir fails on any other.
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

// Invalidate removes the entry, sealed or partial, because it is damaged or its encode failed. If this process
// itself uses the entry, its last user here removes it; until then it is no hit. If another process
// uses the entry, Invalidate keeps it and returns an error.
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
	// From here on HasComplete returns false, so this wait ends: earlier callers pin soon, or never.
	e.invalidating++
	for e.pins == 0 && e.writer == nil && e.hasPendingHit() {
		e.mu.Unlock()
		time.Sleep(hlsReaderPatience / 100)
		e.mu.Lock()
	}
	e.invalidating--
	return c.settle(e)
}

// letGo is settle for callers that cannot return an error.
func (c *HLSCache) letGo(e *hlsEntry) {
	if err := c.settle(e); err != nil {
		log.Printf("[hls_cache] %v", err)
	}
}

// settle is called with e.mu held. It closes the pin if nobody in this process needs it any more, removes the entry
// that Invalidate left to the last user, and releases e.mu.
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
		// Anybody may delete trash at any time; the next sweep deletes the rest of it.
		if failed := os.RemoveAll(filepath.Join(c.root, trash)); failed != nil && err == nil {
			err = fmt.Errorf("%s is removed, but not deleted: %w", e.key, failed)
		}
	}
	return err
}

// remove renames the entry to the trash, under the exclusive lock, and returns the name of the trash,
// which may be deleted without a lock.
func (c *HLSCache) remove(e *hlsEntry, doomed hlsIdentity) (trash string, err error) {
	failed := func(err error) (string, error) {
		return "", fmt.Errorf("cannot remove %s: %w", e.key, err)
	}
	// Take the writer's lock first, so that nobody writes into the entry during its removal.
	writer, err := c.lock("."+e.key+".write", syscall.LOCK_EX, time.Now().Add(hlsRemoverPatience))
	if err != nil {
		return failed(err)
	}
	defer hlsUnlock(writer)
	// Close the shared lock instead of upgrading it: a failed upgrade would lose it too.
	e.unpin()
	// A remover that cannot lock does not remove, on a full disk either: there, the next sweep removes the entry.
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
		// Delete under the lock, and the marker first, so that nobody takes a half-deleted entry for whole.
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

// checkNoMounts fails if anything is mounted on or under the entry, because deleting the entry would delete files on
// that mount. It compares places in the file system, not paths: the mount may have been made through
// another mount of the file system.
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
	return e.pins > 0 || e.writer != nil || e.invalidating > 0 || e.hasPendingHit()
}

// hasPendingHit reports whether a caller of HasComplete may be about to pin.
func (e *hlsEntry) hasPendingHit() bool {
	for len(e.pendingHits) > 0 && !e.pendingHits[0].After(time.Now()) {
		e.pendingHits = e.pendingHits[1:]
	}
	return len(e.pendingHits) > 0
}

// endPendingHit ends the oldest pending hit: its caller pins now, or has decided not to.
func (e *hlsEntry) endPendingHit() {
	if len(e.pendingHits) > 0 {
		e.pendingHits = e.pendingHits[1:]
	}
}

// hold makes sure that this process has the entry locked shared, and returns with e.mu held. It returns false if
// it cannot lock, for instance because a remover held the lock for hlsReaderPatience.
func (c *HLSCache) hold(e *hlsEntry) bool {
	// Count from before e.mu, so that a call that queues for e.mu waits no longer than the others.
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

// lock opens and locks a lockfile, and creates it if necessary. It retries a refused lock until the deadline,
// because flock has no timeout of its own, and then returns errHLSInUse.
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
		// Somebody unlinked the file before we locked it: the other parties lock a new file of this name.
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

// create creates a file that all users of the cache can open: with the root directory's mode whatever the
// umask, and, if this process is root, with the root directory's owner. A file that exists already keeps
// its owner and mode: otherwise a planted hard link would hand over any file.
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
	// A failure is no error: some file systems have no owners and modes.
	_ = syscall.Fchmod(int(file.Fd()), mode)
	if os.Geteuid() == 0 {
		_ = syscall.Fchown(int(file.Fd()), int(root.Uid), int(root.Gid))
	}
	return file, nil
}

// ---- Reading entries

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

// identify returns the identity of the directory with the entry's name.
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

// hlsOpenAt opens a name in a directory, and does not follow a symlink.
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
		syscall.Sync() // syncs all file systems, which is more than necessary
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

// RecordHit counts a hit of this process. Touch logs the hit, because RecordHit knows no key.
func (c *HLSCache) RecordHit() { c.hits.Add(1) }

// RecordMiss counts a miss of this process; TryAcquireWriter logs it.
func (c *HLSCache) RecordMiss() { c.misses.Add(1) }

// logEvent appends to the log from which hls-cache computes the hit rate. A failure to write is printed, and fails
// no call.
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
	// Accept only a file with one name: otherwise a planted hard link would make us write into another file.
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
	// Write once: another process's line could come between two writes.
	_, err = syscall.Write(int(file.Fd()), []byte(line))
	return err
}

// Stats counts the entries and their bytes. It stats every segment.
func (c *HLSCache) Stats() CacheStats {
	stats := CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load()}
	keys, err := c.keys()
	if err != nil {
		log.Printf("[hls_cache] %v", err)
	}
	for _, key := range keys {
		stats.EntryCount++
		// Files that vanish meanwhile or cannot be read are not counted.
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

// Sweep runs hls-cache to evict the least recently used entries down to the budget, and returns the bytes
// freed. HLS_CACHE_PROGRAM names the program if it is not in PATH.
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
		return 0, nil // another maintainer is at work
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

// ReconcileEncodeConfig is for the start of a daemon whose keys contain the encoder settings: entries of
// other settings can never be hits again. If the root's .encode-stamp names other settings, it removes
// all entries that are not in use, writes the new settings, and returns the number of removed entries. If
// the root has no stamp, it writes one and keeps the entries.
func (c *HLSCache) ReconcileEncodeConfig(fingerprint string) (int, error) {
	before, err := c.readStamp()
	if err != nil {
		return 0, err
	}
	if before != nil && *before == fingerprint {
		return 0, nil
	}
	removed := 0
	var first error // a failure to remove one entry must not keep the others
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

// readStamp returns nil if there is no stamp or it cannot be parsed, because neither shows that an entry is
// outdated.
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
		log.Printf("[hls_cache] ignoring %s: %v", file.Name(), err)
		return nil, nil
	}
	return stamp.Fingerprint, nil
}

// writeStamp writes a temporary file and renames it, so that nobody ever reads half a stamp.
func (c *HLSCache) writeStamp(fingerprint string) error {
	text, err := json.Marshal(hlsStamp{&fingerprint})
	if err != nil {
		return err
	}
	const beside = hlsEncodeStamp + ".new"
	_ = os.Remove(filepath.Join(c.root, beside)) // left by a daemon that died here
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
