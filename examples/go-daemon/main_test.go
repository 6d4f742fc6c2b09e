package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go-daemon/hlscache"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newTestDaemon has one film of ten seconds, which is three segments.
func newTestDaemon(t *testing.T) (*daemon, *httptest.Server) {
	t.Helper()
	if err := exec.Command("ffmpeg", "-version").Run(); err != nil {
		if os.Getenv("HLS_CACHE_REQUIRE_ALL") != "" {
			t.Fatalf("SKIPPED: needs ffmpeg (%v)", err)
		}
		t.Skipf("SKIPPED: needs ffmpeg (%v)", err)
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	film := exec.Command("ffmpeg", "-nostdin", "-v", "error",
		"-f", "lavfi", "-i", "testsrc=size=64x36:rate=25", "-f", "lavfi", "-i", "sine", "-t", "10",
		"-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", filepath.Join(dir, "film.mp4"))
	film.Stderr = os.Stderr
	must(t, film.Run())
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no film"), 0o644))
	cache, err := hlscache.NewHLSCache(filepath.Join(dir, "root"), 1)
	must(t, err)
	d := newDaemon(cache, dir)
	server := httptest.NewServer(d)
	t.Cleanup(func() {
		server.Close()
		d.closeAll()
	})
	return d, server
}

func get(t *testing.T, url string) (status int, body, at string) {
	t.Helper()
	response, err := http.Get(url)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text), response.Request.URL.String()
}

// watch plays the film to its end.
func watch(t *testing.T, server *httptest.Server) {
	t.Helper()
	status, playlist, at := get(t, server.URL+"/play?source=film.mp4&quality=360p")
	if status != http.StatusOK || strings.Count(playlist, "#EXTINF") != 3 {
		t.Fatalf("%d: %s", status, playlist)
	}
	for _, file := range []string{"init.mp4", "seg-0.m4s", "seg-1.m4s", "seg-2.m4s"} {
		if status, body, _ := get(t, strings.Replace(at, "index.m3u8", file, 1)); status != http.StatusOK || len(body) < 100 {
			t.Fatalf("%s: %d, %d bytes", file, status, len(body))
		}
	}
}

func TestTheFirstPlayIsEncodedAndTheSecondIsServedFromTheCache(t *testing.T) {
	d, server := newTestDaemon(t)
	key := d.cache.KeyFor(filepath.Join(d.media, "film.mp4"), "360p", -1)

	watch(t, server)
	if d.cache.HasComplete(key) {
		t.Fatal("sealed before its session is closed")
	}
	watch(t, server) // while the first still writes: without the cache
	d.closeAll()
	if !d.cache.HasComplete(key) || !d.cache.VerifyComplete(key, 3) {
		t.Fatal("not sealed")
	}
	if left, _ := filepath.Glob(filepath.Join(d.media, "go-daemon-*")); len(left) > 0 {
		t.Fatalf("left: %v", left)
	}

	t.Setenv("PATH", withoutFFmpeg(t))
	watch(t, server)
	d.closeAll()
	stats := d.cache.Stats()
	if stats.Hits != 1 || stats.Misses != 2 || stats.EntryCount != 1 {
		t.Fatalf("%+v", stats)
	}
	if program := os.Getenv("HLS_CACHE_PROGRAM"); program != "" {
		out, err := exec.Command(program, "--root", filepath.Join(d.media, "root"), "verify", "--deep").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// withoutFFmpeg returns a PATH without ffmpeg, which a hit does not need.
func withoutFFmpeg(t *testing.T) string {
	t.Helper()
	probe, err := exec.LookPath("ffprobe")
	must(t, err)
	dir := t.TempDir()
	must(t, os.Symlink(probe, filepath.Join(dir, "ffprobe")))
	return dir
}

func TestADamagedEntryIsEncodedAgain(t *testing.T) {
	d, server := newTestDaemon(t)
	watch(t, server)
	d.closeAll()
	key := d.cache.KeyFor(filepath.Join(d.media, "film.mp4"), "360p", -1)
	must(t, os.Remove(filepath.Join(d.cache.DirFor(key), "video", "seg-2.m4s")))
	watch(t, server)
	d.closeAll()
	if !d.cache.VerifyComplete(key, 3) {
		t.Fatal("still damaged")
	}
}

func TestAPlayThatFailsLeavesNothing(t *testing.T) {
	d, server := newTestDaemon(t)
	for _, query := range []string{
		"source=notes.txt", "source=nowhere.mkv", "source=../../../etc/passwd", "source=",
		"source=film.mp4&quality=9p", "source=film.mp4&audio=x",
	} {
		if status, body, _ := get(t, server.URL+"/play?"+query); status < 400 || status >= 500 {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	t.Setenv("PATH", withoutFFmpeg(t))
	if status, body, _ := get(t, server.URL+"/play?source=film.mp4&quality=360p"); status != http.StatusNotFound {
		t.Errorf("without ffmpeg: %d %s", status, body)
	}
	key := d.cache.KeyFor(filepath.Join(d.media, "film.mp4"), "360p", -1)
	if _, err := os.Stat(d.cache.DirFor(key)); err == nil {
		t.Error("the failed encode is still there")
	}
}

func TestAnEncodeThatIsCutShortIsNotKept(t *testing.T) {
	d, server := newTestDaemon(t)
	// A missing audio track: ffmpeg starts, and ends with an error.
	status, _, at := get(t, server.URL+"/play?source=film.mp4&quality=360p&audio=7")
	if status != http.StatusOK {
		t.Fatal(status)
	}
	if status, _, _ := get(t, strings.Replace(at, "index.m3u8", "seg-0.m4s", 1)); status != http.StatusNotFound {
		t.Errorf("a segment of nothing: %d", status)
	}
	d.closeAll()
	if stats := d.cache.Stats(); stats.EntryCount != 0 {
		t.Errorf("%+v", stats)
	}
}

func TestOnlySegmentsAreServed(t *testing.T) {
	_, server := newTestDaemon(t)
	_, _, at := get(t, server.URL+"/play?source=film.mp4&quality=360p")
	for _, file := range []string{"ffmpeg-0.m3u8", "..%2f.complete", "..", "seg-0.m4s%2f..%2f..", ""} {
		url := strings.Replace(at, "index.m3u8", file, 1)
		if status, _, _ := get(t, url); status != http.StatusNotFound {
			t.Errorf("%s: %d", url, status)
		}
	}
	if status, _, _ := get(t, fmt.Sprintf("%s/session/%032x/index.m3u8", server.URL, 0)); status != http.StatusNotFound {
		t.Errorf("a session that is none: %d", status)
	}
}
