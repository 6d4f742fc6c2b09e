package hlscache

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	film  = "0123456789abcdef"
	other = "fedcba9876543210"
	// Longer than any step here takes, so that a test that waits in vain ends.
	forever = 20 * time.Second
)

// ---- Helpers

func newCache(t *testing.T) *HLSCache {
	t.Helper()
	c, err := NewHLSCache(filepath.Join(t.TempDir(), "root"), 1)
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (c *HLSCache) path(key string, in ...string) string {
	return filepath.Join(append([]string{c.DirFor(key)}, in...)...)
}

// write makes a partial entry of three segments, as ffmpeg would.
func write(t *testing.T, c *HLSCache, key string) {
	t.Helper()
	must(t, os.MkdirAll(c.path(key, "video"), 0o755))
	for _, file := range []string{"init.mp4", "seg-0.m4s", "seg-1.m4s", "seg-2.m4s"} {
		must(t, os.WriteFile(c.path(key, "video", file), []byte(file), 0o644))
	}
}

func seal(t *testing.T, c *HLSCache, key string) {
	t.Helper()
	write(t, c, key)
	must(t, c.MarkComplete(key))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isPinned probes as another tool does: on a descriptor of its own, so that it also sees the locks of this
// process.
func isPinned(t *testing.T, c *HLSCache, key string) bool {
	t.Helper()
	return isLocked(t, filepath.Join(c.root, "."+key+".pin"))
}

func isLocked(t *testing.T, path string) bool {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	must(t, err)
	defer file.Close()
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil && err != syscall.EWOULDBLOCK {
		t.Fatal(err)
	}
	return err != nil
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > forever {
			t.Fatalf("never so: %s", what)
		}
	}
}

// names returns the sorted names in the root, without lockfiles.
func names(t *testing.T, c *HLSCache) []string {
	t.Helper()
	found, err := os.ReadDir(c.root)
	must(t, err)
	var names []string
	for _, d := range found {
		if name := d.Name(); !strings.HasSuffix(name, ".pin") && !strings.HasSuffix(name, ".write") {
			names = append(names, name)
		}
	}
	return names
}

func expectNames(t *testing.T, c *HLSCache, want ...string) {
	t.Helper()
	sort.Strings(want)
	if got := names(t, c); !reflect.DeepEqual(got, want) {
		t.Fatalf("in the root: %q, want %q", got, want)
	}
}

// events returns the log without its times.
func events(t *testing.T, c *HLSCache) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.root, hlsEventsLog))
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	must(t, err)
	return regexp.MustCompile(`(?m)^\d{10} `).ReplaceAllString(string(text), "")
}

func needsTool(t *testing.T, tool string, args ...string) {
	t.Helper()
	if err := exec.Command(tool, args...).Run(); err != nil {
		missing(t, fmt.Sprintf("%s (%v)", tool, err))
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "root")
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("HLS_CACHE_REQUIRE_ALL") != "" {
		t.Fatalf("SKIPPED: needs %s", what)
	}
	t.Skipf("SKIPPED: needs %s", what)
}

// ---- Another process

// process is this test program, started once more to play another daemon.
type process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

// In the other process: reads one command per line, and answers each with one line.
func TestMain(m *testing.M) {
	root := os.Getenv("HLSCACHE_TEST_ROOT")
	if root == "" {
		os.Exit(m.Run())
	}
	if mask := os.Getenv("HLSCACHE_TEST_UMASK"); mask != "" {
		bits, err := strconv.ParseInt(mask, 8, 32)
		if err != nil {
			panic(err)
		}
		syscall.Umask(int(bits))
	}
	c, err := NewHLSCache(root, 1)
	if err != nil {
		panic(err)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var command, key string
		_, _ = fmt.Sscan(lines.Text(), &command, &key)
		switch command {
		case "HasComplete":
			fmt.Println(c.HasComplete(key))
		case "TryAcquireWriter":
			fmt.Println(c.TryAcquireWriter(key))
		case "MarkComplete":
			fmt.Println(c.MarkComplete(key))
		case "Invalidate":
			fmt.Println(c.Invalidate(key))
		case "Pin":
			c.Pin(key)
			fmt.Println("ok")
		case "Unpin":
			c.Unpin(key)
			fmt.Println("ok")
		default:
			panic(command)
		}
	}
}

func start(t *testing.T, c *HLSCache, prefix ...string) *process {
	t.Helper()
	words := append(prefix, os.Args[0])
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "HLSCACHE_TEST_ROOT="+c.root)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	p := &process{cmd, stdin, bufio.NewScanner(stdout)}
	t.Cleanup(p.kill)
	return p
}

// does sends one command and returns the answer.
func (p *process) does(t *testing.T, command, key string) string {
	t.Helper()
	if _, err := fmt.Fprintln(p.stdin, command, key); err != nil {
		t.Fatal(err)
	}
	if !p.lines.Scan() {
		t.Fatalf("the other process ended: %v", p.lines.Err())
	}
	return p.lines.Text()
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// ---- Keys

func vectors(t *testing.T, name string, columns int) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "tests", name))
	must(t, err)
	var rows [][]string
	for _, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		row := strings.Split(line, "\t")
		if len(row) != columns {
			t.Fatalf("%s: %q", name, line)
		}
		rows = append(rows, row)
	}
	return rows
}

func unhex(t *testing.T, text string) string {
	t.Helper()
	raw, err := hex.DecodeString(text)
	must(t, err)
	return string(raw)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

func TestEveryThreePartKeyIsTheReferences(t *testing.T) {
	c := newCache(t)
	rows := vectors(t, "key-vectors.tsv", 4)
	if len(rows) < 400 {
		t.Fatalf("only %d vectors", len(rows))
	}
	for _, row := range rows {
		if got := c.KeyFor(unhex(t, row[0]), unhex(t, row[1]), number(t, row[2])); got != row[3] {
			t.Errorf("%q: %s", row, got)
		}
	}
}

func TestEveryFivePartKeyIsTheReferences(t *testing.T) {
	c := newCache(t)
	rows := vectors(t, "key-vectors-five.tsv", 7)
	if len(rows) < 100 {
		t.Fatalf("only %d vectors", len(rows))
	}
	for _, row := range rows {
		got := c.Key(HLSCacheKeyOpts{
			Source: unhex(t, row[0]), IsID: row[1] == "1", Quality: unhex(t, row[2]),
			AudioIndex: number(t, row[3]), BurnSubtitleIndex: number(t, row[4]),
			EncodeFingerprint: unhex(t, row[5]),
		})
		if got != row[6] {
			t.Errorf("%q: %s", row, got)
		}
	}
}

func TestAnEmptySourceHasNoKey(t *testing.T) {
	c := newCache(t)
	if key := c.KeyFor("", "720p", 0); key != "" {
		t.Errorf("the working directory has the key %s", key)
	}
	if key := c.Key(HLSCacheKeyOpts{IsID: true}); key != "" {
		t.Errorf("no id has the key %s", key)
	}
}

func TestWhatIsNoKeyIsNeverTouched(t *testing.T) {
	c := newCache(t)
	must(t, os.MkdirAll(filepath.Join(c.root, "lost+found", "precious"), 0o755))
	must(t, os.WriteFile(filepath.Join(c.root, "lost+found", ".complete"), nil, 0o644))
	for _, key := range []string{"", ".", "..", "../root", "lost+found", "0123456789ABCDEF", film + "0", film + "\n"} {
		if c.HasComplete(key) || c.VerifyComplete(key, 0) || c.TryAcquireWriter(key) {
			t.Errorf("%q was taken for an entry", key)
		}
		if c.Invalidate(key) == nil || c.MarkComplete(key) == nil || c.Touch(key) == nil {
			t.Errorf("%q was no error", key)
		}
		c.Pin(key)
		c.Unpin(key)
		c.ReleaseWriter(key)
	}
	expectNames(t, c, "lost+found")
	if !exists(filepath.Join(c.root, "lost+found", "precious")) {
		t.Fatal("a foreign directory was emptied")
	}
}

// ---- Hit

func TestAHitIsProtectedFromHasCompleteToUnpin(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	long := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(c.DirFor(film), long, long))

	if !c.HasComplete(film) {
		t.Fatal("it is sealed")
	}
	if !isPinned(t, c, film) {
		t.Fatal("not protected between HasComplete and Pin")
	}
	if !c.VerifyComplete(film, 3) {
		t.Fatal("it is whole")
	}
	c.Pin(film)
	c.RecordHit()
	must(t, c.Touch(film))
	if !isPinned(t, c, film) {
		t.Fatal("not pinned")
	}
	c.Unpin(film)
	if isPinned(t, c, film) {
		t.Fatal("the hit is still pending after Pin")
	}

	info, err := os.Stat(c.DirFor(film))
	must(t, err)
	if time.Since(info.ModTime()) > time.Minute {
		t.Error("the hit did not make it the most recently used")
	}
	if got := events(t, c); got != "hit "+film+"\n" {
		t.Errorf("logged: %q", got)
	}
	if stats := c.Stats(); stats.Hits != 1 || stats.Misses != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestAHitThatNobodyPinsEndsByItself(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	seal(t, c, film)
	hit := time.Now()
	if !c.HasComplete(film) {
		t.Fatal("it is sealed")
	}
	eventually(t, "the pending hit ends", func() bool { return !isPinned(t, c, film) })
	if lasted := time.Since(hit); lasted < hlsPinGrace {
		t.Errorf("it lasted only %v", lasted)
	}
}

func TestOneOfTwoHitsIsProtectedAfterTheOtherEnds(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	if !c.HasComplete(film) || !c.HasComplete(film) {
		t.Fatal("it is sealed")
	}
	c.Pin(film)
	c.Unpin(film)
	if !isPinned(t, c, film) {
		t.Fatal("the second hit is not protected")
	}
}

func TestPinsAreCounted(t *testing.T) {
	c := newCache(t)
	c.Unpin(film)
	c.Pin(film)
	c.Pin(film)
	c.Unpin(film)
	if !isPinned(t, c, film) {
		t.Fatal("one of two is left")
	}
	c.Unpin(film)
	c.Unpin(film)
	if isPinned(t, c, film) {
		t.Fatal("none is left")
	}
	c.Pin(film)
	if !isPinned(t, c, film) {
		t.Fatal("an Unpin too many was counted")
	}
}

func TestHasCompleteOfAMissingEntryCreatesNothing(t *testing.T) {
	c := newCache(t)
	write(t, c, other)
	if c.HasComplete(film) || c.HasComplete(other) {
		t.Fatal("neither is sealed")
	}
	found, err := os.ReadDir(c.root)
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("created: %v", found)
	}
}

func TestHasCompleteWaitsASecondForARemoverHoweverManyCall(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	seal(t, c, film)
	remover, err := os.Open(filepath.Join(c.root, "."+film+".pin"))
	must(t, err)
	defer remover.Close()
	must(t, syscall.Flock(int(remover.Fd()), syscall.LOCK_EX))

	started := time.Now()
	var waiting sync.WaitGroup
	for n := 0; n < 8; n++ {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			if c.HasComplete(film) {
				t.Error("it is being removed")
			}
		}()
	}
	waiting.Wait()
	// One after the other they would take eight seconds.
	if took := time.Since(started); took < hlsReaderPatience || took > 3*hlsReaderPatience {
		t.Errorf("that took %v", took)
	}
}

func TestHasCompleteChecksAgainAfterWaitingForARemover(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	remover, err := os.Open(filepath.Join(c.root, "."+film+".pin"))
	must(t, err)
	must(t, syscall.Flock(int(remover.Fd()), syscall.LOCK_EX))
	answer := make(chan bool)
	go func() { answer <- c.HasComplete(film) }()
	time.Sleep(20 * time.Millisecond) // the test also holds if it has not begun yet
	must(t, os.Rename(c.DirFor(film), filepath.Join(c.root, ".trash."+film+".0000000000000000")))
	must(t, remover.Close())
	if <-answer {
		t.Fatal("answered what it saw before it had the lock")
	}
}

// ---- Miss

func TestAMissIsProtectedFromTheWriterToUnpin(t *testing.T) {
	c := newCache(t)
	if !c.TryAcquireWriter(film) {
		t.Fatal("nobody else writes it")
	}
	if !isPinned(t, c, film) {
		t.Fatal("not pinned before mkdir")
	}
	c.Pin(film)
	c.RecordMiss()
	write(t, c, film)
	if c.HasComplete(film) {
		t.Fatal("not sealed yet")
	}
	if c.TryAcquireWriter(film) {
		t.Fatal("two writers in one process")
	}
	must(t, c.MarkComplete(film))
	c.ReleaseWriter(film)
	c.ReleaseWriter(film)
	if !isPinned(t, c, film) {
		t.Fatal("still being served")
	}
	if isLocked(t, filepath.Join(c.root, "."+film+".write")) {
		t.Fatal("still locked for writing")
	}
	c.Unpin(film)
	if isPinned(t, c, film) {
		t.Fatal("nobody uses it")
	}
	if !c.VerifyComplete(film, 3) {
		t.Fatal("not whole")
	}
	if got := events(t, c); got != "miss "+film+"\n" {
		t.Errorf("logged: %q", got)
	}
	if stats := c.Stats(); stats != (CacheStats{Misses: 1, EntryCount: 1, TotalBytes: 8 + 3*9}) {
		t.Errorf("%+v", stats)
	}
}

func TestTheWriterKeepsItsPinWithoutPin(t *testing.T) {
	c := newCache(t)
	if !c.TryAcquireWriter(film) {
		t.Fatal("nobody else writes it")
	}
	c.Unpin(film)
	if !isPinned(t, c, film) {
		t.Fatal("it is being written")
	}
}

func TestAWriterThatWroteNothingLeavesNothing(t *testing.T) {
	c := newCache(t)
	if !c.TryAcquireWriter(film) {
		t.Fatal("nobody else writes it")
	}
	c.ReleaseWriter(film)
	expectNames(t, c, hlsEventsLog)
}

func TestWhatWasSealedMeanwhileIsNotWrittenAgain(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	if c.TryAcquireWriter(film) {
		t.Fatal("a second encode into a sealed entry")
	}
	if isPinned(t, c, film) || isLocked(t, filepath.Join(c.root, "."+film+".write")) {
		t.Fatal("locks are left")
	}
	if got := events(t, c); got != "" {
		t.Errorf("logged: %q", got)
	}
}

func TestOnlyTheDirectoryThatWasWrittenIsSealed(t *testing.T) {
	c := newCache(t)
	if !c.TryAcquireWriter(film) {
		t.Fatal("nobody else writes it")
	}
	c.Pin(film)
	write(t, c, film)
	// As invalidate --force removes it, and then a daemon without locks creates a new one.
	trash := filepath.Join(c.root, ".trash."+film+".0000000000000000")
	must(t, os.Rename(c.DirFor(film), trash))
	must(t, os.MkdirAll(c.path(film, "video"), 0o755))
	if c.MarkComplete(film) == nil {
		t.Fatal("sealed a directory that it did not write")
	}
	if exists(c.path(film, hlsComplete)) || exists(filepath.Join(trash, hlsComplete)) {
		t.Fatal("a marker was made")
	}
}

func TestWhatIsNotThereIsNotSealed(t *testing.T) {
	c := newCache(t)
	if c.MarkComplete(film) == nil {
		t.Fatal("sealed nothing")
	}
	if exists(c.DirFor(film)) {
		t.Fatal("made it for the purpose")
	}
}

func TestVerifyCompleteWantsTheInitAndTheLastSegment(t *testing.T) {
	for file, content := range map[string]*[]byte{
		"init.mp4": nil, "seg-2.m4s": nil, "seg-1.m4s": nil, "seg-2.m4s ": {}, "init.mp4 ": {},
	} {
		c := newCache(t)
		seal(t, c, film)
		path := c.path(film, "video", strings.TrimSpace(file))
		must(t, os.Remove(path))
		if content != nil {
			must(t, os.WriteFile(path, *content, 0o644))
		}
		// hls-cache verify finds holes, because it reads every segment.
		if want := file == "seg-1.m4s"; c.VerifyComplete(film, 3) != want {
			t.Errorf("without %q: %v", file, !want)
		}
	}
}

// ---- Error

func TestAFailedEncodeLeavesNothingWhateverTheOrder(t *testing.T) {
	for _, order := range []string{
		"Unpin ReleaseWriter Invalidate", "Invalidate ReleaseWriter Unpin", "Invalidate Unpin ReleaseWriter",
		"ReleaseWriter Unpin Invalidate", "Unpin Invalidate ReleaseWriter", "ReleaseWriter Invalidate Unpin",
	} {
		c := newCache(t)
		if !c.TryAcquireWriter(film) {
			t.Fatal("nobody else writes it")
		}
		c.Pin(film)
		write(t, c, film)
		for _, step := range strings.Fields(order) {
			if !exists(c.DirFor(film)) {
				t.Errorf("%s: removed before %s", order, step)
			}
			switch step {
			case "Unpin":
				c.Unpin(film)
			case "ReleaseWriter":
				c.ReleaseWriter(film)
			case "Invalidate":
				must(t, c.Invalidate(film))
			}
		}
		expectNames(t, c, hlsEventsLog)
		if isPinned(t, c, film) || !c.TryAcquireWriter(film) {
			t.Errorf("%s: locks are left", order)
		}
	}
}

func TestInvalidateOfWhatIsNotThereIsNoError(t *testing.T) {
	must(t, newCache(t).Invalidate(film))
}

func TestADamagedEntryIsRemovedAtOnceDespiteTheHitThatFoundIt(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	must(t, os.Remove(c.path(film, "video", "seg-2.m4s")))
	started := time.Now()
	if !c.HasComplete(film) || c.VerifyComplete(film, 3) {
		t.Fatal("it is sealed and damaged")
	}
	must(t, c.Invalidate(film))
	expectNames(t, c)
	if took := time.Since(started); took > hlsPinGrace/2 {
		t.Errorf("it waited %v for its own hit", took)
	}
	if !c.TryAcquireWriter(film) {
		t.Error("and cannot be encoded again")
	}
}

func TestInvalidateWaitsForAHitWithoutVerify(t *testing.T) {
	t.Parallel()
	c := newCache(t)
	seal(t, c, film)
	if !c.HasComplete(film) {
		t.Fatal("it is sealed")
	}
	must(t, c.Invalidate(film))
	expectNames(t, c)
}

func TestInvalidateKeepsTheEntryForOtherHitsThatPin(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	if !c.HasComplete(film) || !c.HasComplete(film) { // one caller will watch, the other finds damage
		t.Fatal("it is sealed")
	}
	if c.VerifyComplete(film, 99) {
		t.Fatal("there are not so many segments")
	}
	invalidated := make(chan error)
	go func() { invalidated <- c.Invalidate(film) }()
	e := c.entry(film)
	eventually(t, "the other waits", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.doomed != hlsIdentity{}
	})
	if c.HasComplete(film) {
		t.Error("a hit on what was just found damaged")
	}
	c.Pin(film)
	must(t, <-invalidated)
	if !c.VerifyComplete(film, 3) {
		t.Fatal("removed despite an earlier hit")
	}
	c.Unpin(film)
	expectNames(t, c)
}

func TestWhatThisProcessPinsGoesWithItsLastUser(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	c.Pin(film)
	c.Pin(film)
	must(t, c.Invalidate(film))
	if c.HasComplete(film) || c.TryAcquireWriter(film) {
		t.Fatal("it was invalidated")
	}
	c.Unpin(film)
	if !c.VerifyComplete(film, 3) {
		t.Fatal("removed under its second reader")
	}
	c.Unpin(film)
	expectNames(t, c)
}

func TestWhatTookItsPlaceIsNotInvalidated(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	c.Pin(film)
	must(t, c.Invalidate(film))
	must(t, os.Rename(c.DirFor(film), filepath.Join(c.root, "elsewhere")))
	write(t, c, film)
	c.Unpin(film)
	if !exists(c.path(film, "video", "seg-2.m4s")) {
		t.Fatal("removed another entry than the one that was meant")
	}
}

func TestWhatWasInvalidatedWhileItWasWrittenIsNotSealed(t *testing.T) {
	c := newCache(t)
	if !c.TryAcquireWriter(film) {
		t.Fatal("nobody else writes it")
	}
	c.Pin(film)
	write(t, c, film)
	must(t, c.Invalidate(film))
	if c.MarkComplete(film) == nil {
		t.Fatal("sealed")
	}
	c.ReleaseWriter(film)
	c.Unpin(film)
	expectNames(t, c, hlsEventsLog)
}

// ---- Two processes

func TestWhatAnotherProcessPinsIsNotInvalidated(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	viewer := start(t, c)
	viewer.does(t, "Pin", film)
	if err := c.Invalidate(film); !errors.Is(err, errHLSInUse) {
		t.Fatalf("removed under a viewer: %v", err)
	}
	if !c.HasComplete(film) || !c.VerifyComplete(film, 3) {
		t.Fatal("it should be as before")
	}
	c.Pin(film)
	c.Unpin(film)
	viewer.does(t, "Unpin", film)
	must(t, c.Invalidate(film))
	expectNames(t, c)
}

func TestAHitOfAnotherProcessProtects(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	viewer := start(t, c)
	if viewer.does(t, "HasComplete", film) != "true" {
		t.Fatal("it is sealed")
	}
	if !errors.Is(c.Invalidate(film), errHLSInUse) {
		t.Fatal("removed between HasComplete and Pin")
	}
}

func TestTheLocksOfAProcessThatIsKilledAreGone(t *testing.T) {
	c := newCache(t)
	daemon := start(t, c)
	if daemon.does(t, "TryAcquireWriter", film) != "true" {
		t.Fatal("nobody else writes it")
	}
	daemon.does(t, "Pin", film)
	write(t, c, film)
	if c.TryAcquireWriter(film) {
		t.Fatal("two writers")
	}
	if c.MarkComplete(film) == nil {
		t.Fatal("sealed what another process writes")
	}
	if !errors.Is(c.Invalidate(film), errHLSInUse) {
		t.Fatal("removed under a writer")
	}
	daemon.kill()
	if !c.TryAcquireWriter(film) {
		t.Fatal("the killed writer still counts")
	}
	if !exists(c.path(film, "video", "seg-2.m4s")) {
		t.Fatal("its segments could be reused")
	}
}

func TestAWriterInAnotherProcessIsNotInvalidatedThoughItDoesNotPin(t *testing.T) {
	c := newCache(t)
	write(t, c, film)
	writer, err := c.lock("."+film+".write", syscall.LOCK_EX, time.Time{})
	must(t, err)
	defer writer.Close()
	if !errors.Is(c.Invalidate(film), errHLSInUse) {
		t.Fatal("removed under a writer")
	}
}

// Every step of the removal and of the seal, as the kernel saw them.
func TestTheOrderOfSystemCalls(t *testing.T) {
	needsTool(t, "strace", "-o", "/dev/null", "true")
	c := newCache(t)
	write(t, c, film)
	trace := filepath.Join(t.TempDir(), "trace")
	calls := "trace=syncfs,openat,flock,renameat,renameat2,unlinkat,unlink,rmdir"
	daemon := start(t, c, "strace", "-f", "-o", trace, "-e", calls)
	if got := daemon.does(t, "MarkComplete", film); got != "<nil>" {
		t.Fatal(got)
	}
	if got := daemon.does(t, "Invalidate", film); got != "<nil>" {
		t.Fatal(got)
	}
	must(t, daemon.stdin.Close())
	must(t, daemon.cmd.Wait())
	text, err := os.ReadFile(trace)
	must(t, err)

	root := `openat\(\d+, "\.` + film
	steps := []string{
		// Seal: the pin, the writer's lock, the disk, the marker.
		root + `\.pin"`, `flock\(\d+, LOCK_SH\|LOCK_NB\) += 0`,
		root + `\.write"`, `flock\(\d+, LOCK_EX\|LOCK_NB\) += 0`,
		`syncfs\(\d+\) += 0`, `openat\(\d+, "\.complete", O_WRONLY\|O_CREAT`,
		`flock\(\d+, LOCK_UN\)`, `flock\(\d+, LOCK_UN\)`,
		// Removal: both locks, a second check, the rename, the locks released, and only then the deletion.
		root + `\.write"`, `flock\(\d+, LOCK_EX\|LOCK_NB\) += 0`,
		root + `\.pin"`, `flock\(\d+, LOCK_EX\|LOCK_NB\) += 0`,
		`openat\(\d+, "` + film + `"`,
		`renameat2?\(\d+, "` + film + `", \d+, "\.trash\.` + film + `\.[0-9a-f]{16}"`,
		`flock\(\d+, LOCK_UN\)`, `flock\(\d+, LOCK_UN\)`, `unlink`,
	}
	rest := text
	for _, step := range steps {
		at := regexp.MustCompile(step).FindIndex(rest)
		if at == nil {
			t.Fatalf("%s is missing, or too early, in\n%s", step, text)
		}
		rest = rest[at[1]:]
	}
	if bytes.Count(text, []byte("rename")) != 1 {
		t.Errorf("more than one rename:\n%s", text)
	}
	beforeRename := text[:bytes.Index(text, []byte("rename"))]
	if bytes.Contains(beforeRename, []byte("unlinkat(")) {
		t.Errorf("something was deleted before the rename:\n%s", beforeRename)
	}
}

// A full disk has no room for the new name, and mergerfs can report a rename and keep the old name. Then
// the entry is deleted in place, under the lock and with the marker first.
func TestWhatCannotBeRenamedIsDeletedUnderTheLock(t *testing.T) {
	needsTool(t, "strace", "-o", "/dev/null", "true")
	for _, outcome := range []string{"error=ENOSPC", "error=EDQUOT", "error=EXDEV", "retval=0"} {
		c := newCache(t)
		seal(t, c, film)
		trace := filepath.Join(t.TempDir(), "trace")
		daemon := start(t, c, "strace", "-f", "-o", trace, "-e", "trace=flock,renameat,renameat2,unlinkat",
			"-e", "inject=renameat,renameat2:"+outcome)
		if got := daemon.does(t, "Invalidate", film); got != "<nil>" {
			t.Errorf("%s: %s", outcome, got)
		}
		must(t, daemon.stdin.Close())
		must(t, daemon.cmd.Wait())
		expectNames(t, c)
		text, err := os.ReadFile(trace)
		must(t, err)
		_, after, _ := strings.Cut(string(text), "rename")
		marker, segment := strings.Index(after, `.complete", 0) = 0`), strings.Index(after, "seg-0.m4s")
		unlock := strings.Index(after, "LOCK_UN")
		if marker < 0 || marker > segment || segment > unlock {
			t.Errorf("%s: not in order:\n%s", outcome, text)
		}
	}
}

func TestWhatCannotBeRemovedStaysAsItIs(t *testing.T) {
	needsTool(t, "strace", "-o", "/dev/null", "true")
	c := newCache(t)
	seal(t, c, film)
	daemon := start(t, c, "strace", "-f", "-o", "/dev/null", "-e", "inject=renameat,renameat2:error=EPERM")
	if got := daemon.does(t, "Invalidate", film); !strings.Contains(got, "operation not permitted") {
		t.Error(got)
	}
	if !c.VerifyComplete(film, 3) {
		t.Error("deleted without a rename")
	}
}

func TestAProbeOfAnotherToolIsNoUse(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	probe, err := os.Open(filepath.Join(c.root, "."+film+".pin"))
	must(t, err)
	must(t, syscall.Flock(int(probe.Fd()), syscall.LOCK_SH))
	time.AfterFunc(hlsRemoverPatience/4, func() { _ = probe.Close() })
	must(t, c.Invalidate(film))
	expectNames(t, c)
}

// ---- Lockfiles

func TestALockfileBelongsToTheCacheWhateverTheUmask(t *testing.T) {
	c := newCache(t)
	must(t, os.Chmod(c.root, 0o775))
	if os.Geteuid() == 0 {
		must(t, os.Chown(c.root, 12345, 12346))
	}
	t.Setenv("HLSCACHE_TEST_UMASK", "0777")
	daemon := start(t, c)
	daemon.does(t, "Pin", film)
	var root syscall.Stat_t
	must(t, syscall.Stat(c.root, &root))
	var pin syscall.Stat_t
	must(t, syscall.Stat(filepath.Join(c.root, "."+film+".pin"), &pin))
	if pin.Mode&0o7777 != 0o664 || pin.Uid != root.Uid || pin.Gid != root.Gid {
		t.Fatalf("mode %o, owner %d:%d", pin.Mode, pin.Uid, pin.Gid)
	}
}

func TestALockfileThatIsThereKeepsItsMode(t *testing.T) {
	c := newCache(t)
	pin := filepath.Join(c.root, "."+film+".pin")
	must(t, os.WriteFile(pin, nil, 0o600))
	must(t, os.Chmod(pin, 0o600))
	c.Pin(film)
	if !isPinned(t, c, film) {
		t.Fatal("not pinned")
	}
	info, err := os.Stat(pin)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Fatal(info.Mode())
	}
}

func TestALockfileThatMayOnlyBeReadWillDo(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	pin := filepath.Join(c.root, "."+film+".pin")
	must(t, os.Chmod(pin, 0o444))
	if os.Geteuid() == 0 {
		needsTool(t, "mount", "--bind", c.root, c.root)
		t.Cleanup(func() { _ = exec.Command("umount", "-l", c.root).Run() })
		needsTool(t, "mount", "-o", "remount,bind,ro", c.root)
		reopened, err := NewHLSCache(c.root, 1) // through the mount
		must(t, err)
		c = reopened
	}
	if !c.HasComplete(film) {
		t.Fatal("it could be locked")
	}
}

func TestOnlyARegularFileIsALockfile(t *testing.T) {
	for what, plant := range map[string]func(string) error{
		"a symlink":   func(pin string) error { return os.Symlink("/etc/passwd", pin) },
		"a dead link": func(pin string) error { return os.Symlink(pin+".target", pin) },
		"a directory": func(pin string) error { return os.Mkdir(pin, 0o755) },
		"a FIFO":      func(pin string) error { return syscall.Mkfifo(pin, 0o666) },
	} {
		c := newCache(t)
		write(t, c, film)
		pin := filepath.Join(c.root, "."+film+".pin")
		must(t, plant(pin))
		if c.MarkComplete(film) == nil || c.Invalidate(film) == nil || c.TryAcquireWriter(film) {
			t.Errorf("%s was locked", what)
		}
		if !exists(c.path(film, "video", "seg-2.m4s")) {
			t.Errorf("%s: removed without a lock", what)
		}
		if exists(pin + ".target") {
			t.Errorf("%s was followed", what)
		}
	}
}

func TestALockOnAnUnlinkedFileIsNotTakenForTheLock(t *testing.T) {
	c := newCache(t)
	c.Pin(film)
	pin := filepath.Join(c.root, "."+film+".pin")
	file, err := os.Open(pin)
	must(t, err)
	defer file.Close()
	c.Unpin(film)
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
	waiting := make(chan *os.File)
	go func() {
		held, err := c.lock("."+film+".pin", syscall.LOCK_EX, time.Now().Add(forever))
		if err != nil {
			t.Error(err)
		}
		waiting <- held
	}()
	// The other process has the file open, and waits for the lock.
	eventually(t, "it waits", func() bool { return countOpen(pin) > 1 })
	must(t, os.Remove(pin))
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_UN))
	defer (<-waiting).Close()
	if !isPinned(t, c, film) {
		t.Fatal("it locked a file that nobody else can find")
	}
}

// countOpen counts this process's descriptors of a file.
func countOpen(path string) int {
	links, _ := filepath.Glob("/proc/self/fd/*")
	count := 0
	for _, link := range links {
		if to, _ := os.Readlink(link); to == path {
			count++
		}
	}
	return count
}

func TestNoDescriptorIsLeftOpen(t *testing.T) {
	c := newCache(t)
	open := func() int {
		links, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(links)
	}
	once := func() {
		c.TryAcquireWriter(film)
		c.Pin(film)
		write(t, c, film)
		must(t, c.MarkComplete(film))
		c.ReleaseWriter(film)
		c.HasComplete(film)
		c.VerifyComplete(film, 9)
		c.Unpin(film)
		must(t, c.Invalidate(film))
		_ = c.Touch(film)
	}
	once()
	before := open()
	for n := 0; n < 20; n++ {
		once()
	}
	if after := open(); after > before+3 { // other tests run beside this one
		t.Fatalf("%d, then %d", before, after)
	}
}

// ---- Mounts

func TestWhatSomethingIsMountedUnderIsNotRemoved(t *testing.T) {
	needsRoot(t)
	for _, where := range []string{"", "video", "video/seg-dir"} {
		c := newCache(t)
		write(t, c, film)
		must(t, os.MkdirAll(c.path(film, where), 0o755))
		// Through another mount of the same file system, where the path is different.
		elsewhere := filepath.Join(t.TempDir(), "with space")
		must(t, os.Mkdir(elsewhere, 0o755))
		needsTool(t, "mount", "--bind", c.root, elsewhere)
		t.Cleanup(func() { _ = exec.Command("umount", "-l", elsewhere).Run() })
		needsTool(t, "mount", "--make-private", elsewhere)
		needsTool(t, "mount", "-t", "tmpfs", "none", filepath.Join(elsewhere, film, where))
		t.Cleanup(func() { _ = exec.Command("umount", "-l", filepath.Join(elsewhere, film, where)).Run() })
		if err := c.Invalidate(film); err == nil || !strings.Contains(err.Error(), "mounted") {
			t.Errorf("under %q: %v", where, err)
		}
		expectNames(t, c, film)
	}
}

func TestAMountBesideAnEntryIsNoneOnIt(t *testing.T) {
	needsRoot(t)
	c := newCache(t)
	write(t, c, film)
	write(t, c, other)
	needsTool(t, "mount", "-t", "tmpfs", "none", c.DirFor(other))
	t.Cleanup(func() { _ = exec.Command("umount", "-l", c.DirFor(other)).Run() })
	must(t, c.Invalidate(film))
	expectNames(t, c, other)
}

// ---- Events

func TestTheLogIsAppendedToWhateverItsState(t *testing.T) {
	for before, after := range map[string]string{
		"":                               "hit " + film + "\n",
		"1700000000 hit " + other + "\n": "hit " + other + "\nhit " + film + "\n",
		"1700000000 hit 01":              "hit 01\nhit " + film + "\n", // a full disk cut it short
	} {
		c := newCache(t)
		seal(t, c, film)
		must(t, os.WriteFile(filepath.Join(c.root, hlsEventsLog), []byte(before), 0o644))
		must(t, c.Touch(film))
		if got := events(t, c); got != after {
			t.Errorf("after %q: %q", before, got)
		}
	}
}

func TestALogThatCannotBeWrittenToFailsNobody(t *testing.T) {
	c := newCache(t)
	must(t, os.Mkdir(filepath.Join(c.root, hlsEventsLog), 0o755))
	if !c.TryAcquireWriter(film) {
		t.Fatal("a miss failed")
	}
	must(t, c.Touch(film))
}

func TestNothingIsLoggedThroughALink(t *testing.T) {
	for _, link := range []func(string, string) error{os.Symlink, os.Link} {
		c := newCache(t)
		seal(t, c, film)
		precious := filepath.Join(filepath.Dir(c.root), "precious")
		must(t, os.WriteFile(precious, nil, 0o644))
		must(t, link(precious, filepath.Join(c.root, hlsEventsLog)))
		must(t, c.Touch(film))
		if info, err := os.Stat(precious); err != nil || info.Size() != 0 {
			t.Fatal("wrote into somebody else's file")
		}
	}
}

func TestATouchOfWhatIsNotThereIsNoHit(t *testing.T) {
	c := newCache(t)
	if c.Touch(film) == nil || events(t, c) != "" {
		t.Fatal("a hit")
	}
}

// ---- Maintenance

// fake is a program in the place of hls-cache: it writes its arguments to a file, and prints and exits as
// given.
func fake(t *testing.T, stdout, stderr string, status int) (arguments string) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "fake")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s/arguments\necho '%s'\necho '%s' >&2\nexit %d\n",
		dir, stdout, stderr, status)
	must(t, os.WriteFile(program, []byte(script), 0o755))
	t.Setenv("HLS_CACHE_PROGRAM", program)
	return filepath.Join(dir, "arguments")
}

func TestSweepAsksTheMaintainerAndSaysWhatItFreed(t *testing.T) {
	for _, test := range []struct {
		stdout, stderr string
		status         int
		freed          int64
		err            string
	}{
		{`{"freed_bytes": 12345, "unmet": []}`, "", 0, 12345, ""},
		{`{"freed_bytes": 5, "unmet": ["max_size"]}`, "warning: over budget", 3, 5, ""},
		{"", "error: another maintainer is at work", 4, 0, ""},
		{`{"freed_bytes": 7}`, "error: cannot remove abc", 1, 7, "cannot remove abc"},
		{"", "error: unexpected argument", 2, 0, "unexpected argument"},
		{"not JSON", "", 0, 0, "exit status 0"},
	} {
		c, err := NewHLSCache(filepath.Join(t.TempDir(), "root"), 7)
		must(t, err)
		arguments := fake(t, test.stdout, test.stderr, test.status)
		freed, err := c.Sweep()
		if freed != test.freed || (err == nil) != (test.err == "") ||
			err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%+v: %d, %v", test, freed, err)
		}
		got, err := os.ReadFile(arguments)
		must(t, err)
		if want := "--root " + c.root + " --json sweep --max-size 7GiB\n"; string(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSweepWithoutTheProgramNamesTheRemedy(t *testing.T) {
	c := newCache(t)
	t.Setenv("HLS_CACHE_PROGRAM", "/nowhere/hls-cache")
	if _, err := c.Sweep(); err == nil || !strings.Contains(err.Error(), "HLS_CACHE_PROGRAM") {
		t.Fatal(err)
	}
}

func TestTheSweeperSweepsAgainAndAgainUntilItIsStopped(t *testing.T) {
	c := newCache(t)
	arguments := fake(t, `{"freed_bytes": 0}`, "", 0)
	ctx, stop := context.WithCancel(context.Background())
	c.StartSweeper(ctx, 10*time.Millisecond)
	sweeps := func() int {
		text, _ := os.ReadFile(arguments)
		return bytes.Count(text, []byte("\n"))
	}
	eventually(t, "three sweeps", func() bool { return sweeps() >= 3 })
	stop()
	eventually(t, "no more sweeps", func() bool {
		before := sweeps()
		time.Sleep(100 * time.Millisecond)
		return sweeps() == before
	})
}

func TestARealSweepEvictsWhatIsNotInUse(t *testing.T) {
	program := os.Getenv("HLS_CACHE_PROGRAM")
	if program == "" {
		missing(t, "hls-cache itself, named in HLS_CACHE_PROGRAM")
	}
	c := newCache(t)
	for age, key := range []string{film, other} { // film is the older one, and is watched
		seal(t, c, key)
		must(t, os.Truncate(c.path(key, "video", "seg-1.m4s"), 700<<20))
		at := time.Now().Add(-time.Duration(48-24*age) * time.Hour)
		for _, path := range []string{"video/init.mp4", "video/seg-0.m4s", "video/seg-1.m4s", "video/seg-2.m4s", "video", hlsComplete, ""} {
			must(t, os.Chtimes(c.path(key, path), at, at))
		}
	}
	c.Pin(film)
	freed, err := c.Sweep()
	must(t, err)
	if freed < 700<<20 || !exists(c.DirFor(film)) || exists(c.DirFor(other)) {
		t.Fatalf("%d freed, left: %q", freed, names(t, c))
	}
}

func TestTheStampDecidesWhatGoes(t *testing.T) {
	c := newCache(t)
	seal(t, c, film)
	must(t, os.Mkdir(filepath.Join(c.root, "foreign"), 0o755))
	reconcile := func(fingerprint string, want int) {
		t.Helper()
		removed, err := c.ReconcileEncodeConfig(fingerprint)
		must(t, err)
		if removed != want {
			t.Fatalf("%q: %d removed, want %d", fingerprint, removed, want)
		}
		text, err := os.ReadFile(filepath.Join(c.root, hlsEncodeStamp))
		must(t, err)
		if want := fmt.Sprintf("{\"fingerprint\":%q}\n", fingerprint); string(text) != want {
			t.Fatalf("the stamp is %q, want %q", text, want)
		}
	}
	reconcile("a|b", 0) // no stamp: nothing shows that an entry is outdated
	reconcile("a|b", 0)
	expectNames(t, c, film, "foreign", hlsEncodeStamp)
	seal(t, c, other)
	reconcile("a|c", 2)
	expectNames(t, c, "foreign", hlsEncodeStamp)
	seal(t, c, film)
	reconcile("", 1)
	seal(t, c, film)
	reconcile("a|c", 1) // no settings differ from some settings
}

func TestReconcilingSparesWhatIsInUse(t *testing.T) {
	c := newCache(t)
	const third = "1111111111111111"
	for _, key := range []string{film, other, third} {
		seal(t, c, key)
	}
	_, err := c.ReconcileEncodeConfig("old")
	must(t, err)
	viewer := start(t, c)
	viewer.does(t, "Pin", film)
	c.Pin(other)
	removed, err := c.ReconcileEncodeConfig("new")
	must(t, err)
	if removed != 1 {
		t.Fatalf("%d removed", removed)
	}
	expectNames(t, c, film, other, hlsEncodeStamp)
	if !c.HasComplete(other) {
		t.Fatal("what stays stays a hit")
	}
}

func TestAStampThatCannotBeUnderstoodIsNone(t *testing.T) {
	for _, text := range []string{"", "garbage", "{}", `{"fingerprint": 7}`} {
		c := newCache(t)
		seal(t, c, film)
		must(t, os.WriteFile(filepath.Join(c.root, hlsEncodeStamp), []byte(text), 0o644))
		removed, err := c.ReconcileEncodeConfig("new")
		must(t, err)
		if removed != 0 || !exists(c.DirFor(film)) {
			t.Errorf("%q was evidence", text)
		}
		if stamp, err := c.readStamp(); err != nil || stamp == nil || *stamp != "new" {
			t.Errorf("%q was not replaced", text)
		}
	}
}

// ---- All at once

// Sessions of one process in the callers' order, against removers on descriptors of their own, which lock
// like another process. Also for go test -race.
func TestManySessionsAndARemover(t *testing.T) {
	c := newCache(t)
	keys := []string{film, other, "1111111111111111"}
	stop := make(chan struct{})
	var sessions, removers sync.WaitGroup
	for n := 0; n < 2; n++ {
		remover, err := NewHLSCache(c.root, 1)
		must(t, err)
		removers.Add(1)
		go func() {
			defer removers.Done()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					_ = remover.Invalidate(keys[n%len(keys)])
				}
			}
		}()
	}
	var mu sync.Mutex
	hits, misses := 0, 0
	for n := 0; n < 6; n++ {
		sessions.Add(1)
		go func(n int) {
			defer sessions.Done()
			for round := 0; round < 60; round++ {
				key := keys[(n+round)%len(keys)]
				if c.HasComplete(key) && !c.VerifyComplete(key, 3) {
					t.Errorf("%s: damaged between two checks", key)
					_ = c.Invalidate(key)
				}
				if c.HasComplete(key) {
					c.Pin(key)
					if !c.VerifyComplete(key, 3) {
						t.Errorf("%s: lost under a reader", key)
					}
					c.Unpin(key)
					mu.Lock()
					hits++
					mu.Unlock()
				} else if c.TryAcquireWriter(key) {
					c.Pin(key)
					write(t, c, key)
					for _, file := range []string{"init.mp4", "seg-0.m4s", "seg-1.m4s", "seg-2.m4s"} {
						if !exists(c.path(key, "video", file)) {
							t.Errorf("%s: %s lost under its writer", key, file)
						}
					}
					if round%3 == 0 {
						c.Unpin(key)
						c.ReleaseWriter(key)
						_ = c.Invalidate(key)
						continue
					}
					_ = c.MarkComplete(key) // fails after a late Invalidate of another session
					c.ReleaseWriter(key)
					c.Unpin(key)
					mu.Lock()
					misses++
					mu.Unlock()
				}
			}
		}(n)
	}
	sessions.Wait()
	close(stop)
	removers.Wait()
	if hits == 0 || misses == 0 {
		t.Errorf("too quiet: %d hits, %d misses", hits, misses)
	}
}
