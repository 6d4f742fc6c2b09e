// Command go-daemon serves films as HLS, encodes them with ffmpeg on their first play and keeps the
// segments in a cache that hls-cache maintains. It is an example: it has no authentication.
//
//	go run . -root /srv/hls -media /srv/films
//	mpv 'http://127.0.0.1:8321/play?source=alien.mkv&quality=720p'
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"math"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go-daemon/hlscache"
)

const (
	segmentSeconds = 4
	// A rest shorter than this at the end of a film gets no segment of its own: ffmpeg cuts where a picture
	// starts, and sound often lasts a little longer than the pictures.
	tail = 0.2
	// How long a player waits for a segment that is being encoded.
	segmentPatience = time.Minute
)

var (
	heights     = map[string]int{"360p": 360, "480p": 480, "720p": 720, "1080p": 1080, "2160p": 2160}
	segmentName = regexp.MustCompile(`^(init\.mp4|seg-[0-9]+\.m4s)$`)
)

func main() {
	root := flag.String("root", "", "keep segments in `DIR`")
	media := flag.String("media", "", "serve the films in `DIR`")
	listen := flag.String("listen", "127.0.0.1:8321", "listen on `ADDRESS`; everybody who can reach it can watch")
	sizeGB := flag.Int("size-gb", 50, "sweep the cache down to `N` GiB")
	every := flag.Duration("sweep-every", time.Hour, "run hls-cache sweep every `DUR`")
	idle := flag.Duration("idle", 10*time.Minute, "end a session without requests for `DUR`")
	flag.Parse()
	if *root == "" || *media == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	// Make a file size limit fail the write instead of killing the daemon.
	signal.Ignore(syscall.SIGXFSZ)
	cache, err := hlscache.NewHLSCache(*root, *sizeGB)
	if err != nil {
		log.Fatalf("cannot open the cache: %v", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cache.StartSweeper(ctx, *every)
	d := newDaemon(cache, *media)
	go d.closeIdle(ctx, *idle)

	server := &http.Server{Addr: *listen, Handler: d, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	log.Printf("listening on http://%s", *listen)
	err = server.ListenAndServe()
	d.closeAll()
	if !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}

// daemon holds the sessions, and what it needs to start one.
type daemon struct {
	http.ServeMux
	cache *hlscache.HLSCache
	media string

	mu       sync.Mutex
	sessions map[string]*session
}

func newDaemon(cache *hlscache.HLSCache, media string) *daemon {
	d := &daemon{cache: cache, media: media, sessions: map[string]*session{}}
	d.HandleFunc("/play", d.play)
	d.HandleFunc("/session/", d.serve)
	d.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.cache.Stats())
	})
	return d
}

// session is one play of one film.
type session struct {
	cache    *hlscache.HLSCache
	key      string // empty for a play without the cache
	dir      string
	hit      bool
	seconds  float64
	segments int

	stop    context.CancelFunc
	encoded chan struct{} // closed when ffmpeg has ended
	failed  error         // ffmpeg's error; read it after encoded is closed

	mu     sync.Mutex
	used   time.Time
	closed bool
}

// ---- Starting and ending a session, in the order that the cache makes safe

func (d *daemon) open(source, quality string, audio int) (s *session, err error) {
	seconds, err := duration(source)
	if err != nil {
		return nil, err
	}
	segments := int(math.Max(1, math.Ceil((seconds-tail)/segmentSeconds)))
	s = &session{cache: d.cache, seconds: seconds, segments: segments, used: time.Now()}
	s.stop = func() {}
	s.encoded = make(chan struct{})
	defer func() {
		if err != nil {
			s.fail()
		}
	}()

	s.key = s.cache.KeyFor(source, quality, audio)
	if s.cache.HasComplete(s.key) && !s.cache.VerifyComplete(s.key, segments) {
		log.Printf("%s is damaged: encoding it again", s.key)
		if err := s.cache.Invalidate(s.key); err != nil {
			log.Print(err)
		}
	}
	if s.cache.HasComplete(s.key) {
		s.cache.Pin(s.key)
		s.dir, s.hit = s.cache.DirFor(s.key), true
		s.cache.RecordHit()
		if err := s.cache.Touch(s.key); err != nil {
			log.Print(err) // the entry keeps its old time, and is evicted earlier
		}
		close(s.encoded)
		return s, nil
	}
	if s.cache.TryAcquireWriter(s.key) {
		s.cache.Pin(s.key)
		s.dir = s.cache.DirFor(s.key)
		s.cache.RecordMiss()
	} else {
		// Another process encodes or removes the entry.
		s.key = ""
		s.cache.RecordMiss()
		if s.dir, err = os.MkdirTemp("", "go-daemon-"); err != nil {
			return nil, err
		}
	}
	// Delete the leftover of an encode that died. Nobody reads it: it was never sealed.
	if err := os.RemoveAll(filepath.Join(s.dir, "video")); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "video"), 0o755); err != nil {
		return nil, err
	}
	return s, s.encode(source, quality, audio)
}

// fail ends a session that could not start.
func (s *session) fail() {
	if s.key == "" {
		_ = os.RemoveAll(s.dir)
		return
	}
	s.cache.Unpin(s.key)
	s.cache.ReleaseWriter(s.key)
	if err := s.cache.Invalidate(s.key); err != nil {
		log.Print(err)
	}
}

// close ends a session, and seals its entry if the encode is complete.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.isWhole() {
		<-s.encoded // only the end of the playlist can be missing
	}
	s.stop()
	<-s.encoded // ffmpeg writes no more
	if s.key == "" {
		_ = os.RemoveAll(s.dir)
		return
	}
	defer s.cache.Unpin(s.key)
	if s.hit {
		return
	}
	defer s.cache.ReleaseWriter(s.key)
	if s.failed == nil && s.isWhole() {
		err := s.cache.MarkComplete(s.key)
		if err == nil {
			return
		}
		log.Print(err)
	}
	if err := s.cache.Invalidate(s.key); err != nil {
		log.Print(err)
	}
}

func (s *session) isWhole() bool {
	for n := 0; n < s.segments; n++ {
		if info, err := os.Stat(s.path(fmt.Sprintf("seg-%d.m4s", n))); err != nil || info.Size() == 0 {
			return false
		}
	}
	info, err := os.Stat(s.path("init.mp4"))
	return err == nil && info.Size() > 0
}

func (s *session) path(file string) string { return filepath.Join(s.dir, "video", file) }

// closeIdle ends sessions whose players have gone away.
func (d *daemon) closeIdle(ctx context.Context, idle time.Duration) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(idle/10 + time.Second):
		}
		d.mu.Lock()
		var gone []*session
		for id, s := range d.sessions {
			if s.idleFor() > idle {
				gone = append(gone, s)
				delete(d.sessions, id)
			}
		}
		d.mu.Unlock()
		for _, s := range gone {
			s.close()
		}
	}
}

func (s *session) idleFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.used)
}

func (s *session) use() {
	s.mu.Lock()
	s.used = time.Now()
	s.mu.Unlock()
}

func (d *daemon) closeAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, s := range d.sessions {
		s.close()
		delete(d.sessions, id)
	}
}

// ---- ffmpeg

func duration(source string) (float64, error) {
	out, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "format=duration",
		"-of", "csv=p=0", "file:"+source).Output()
	seconds, notANumber := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil || notANumber != nil || seconds <= 0 {
		return 0, fmt.Errorf("ffprobe cannot tell the length of %s: name a film", source)
	}
	return seconds, nil
}

func (s *session) encode(source, quality string, audio int) error {
	track := "0:a:0?" // the default track, if there is any
	if audio >= 0 {
		track = fmt.Sprintf("0:a:%d", audio)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-i", "file:"+source,
		"-map", "0:v:0", "-map", track,
		"-vf", fmt.Sprintf("scale=-2:'min(%d,ih)'", heights[quality]),
		"-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-ac", "2",
		"-force_key_frames", fmt.Sprintf("expr:gte(t,n_forced*%d)", segmentSeconds),
		"-f", "hls", "-hls_time", strconv.Itoa(segmentSeconds), "-hls_list_size", "0",
		"-hls_playlist_type", "vod", "-hls_segment_type", "fmp4", "-hls_fmp4_init_filename", "init.mp4",
		// ffmpeg renames a segment to its name when it is whole.
		"-hls_flags", "independent_segments+temp_file",
		"-hls_segment_filename", s.path("seg-%d.m4s"), s.path("ffmpeg-0.m3u8"))
	cmd.Stderr = os.Stderr
	// An ffmpeg that outlived the daemon would continue to write without locks.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		// The kernel sends the signal when the thread that started ffmpeg ends.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.failed = cmd.Wait()
			close(s.encoded)
		}
	}()
	if err := <-started; err != nil {
		stop()
		return err
	}
	s.stop = stop
	return nil
}

// ---- HTTP

func (d *daemon) play(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	name, quality, audio := query.Get("source"), query.Get("quality"), -1
	if quality == "" {
		quality = "720p"
	}
	if text := query.Get("audio"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil {
			http.Error(w, "invalid audio: give the number of a track", http.StatusBadRequest)
			return
		}
		audio = number
	}
	if name == "" || heights[quality] == 0 {
		http.Error(w, "invalid source or quality: name a film, and one of 360p, 480p, 720p, 1080p or 2160p", http.StatusBadRequest)
		return
	}
	// Made absolute first, so that no .. leads out of the media.
	s, err := d.open(filepath.Join(d.media, path.Clean("/"+name)), quality, audio)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	random := make([]byte, 16)
	if _, err := rand.Read(random); err != nil {
		s.close()
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	id := hex.EncodeToString(random)
	d.mu.Lock()
	d.sessions[id] = s
	d.mu.Unlock()
	http.Redirect(w, r, "/session/"+id+"/index.m3u8", http.StatusSeeOther)
}

func (d *daemon) serve(w http.ResponseWriter, r *http.Request) {
	id, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/session/"), "/")
	d.mu.Lock()
	s := d.sessions[id]
	d.mu.Unlock()
	if s == nil {
		http.Error(w, "this session has ended: start the film again", http.StatusNotFound)
		return
	}
	s.use()
	defer s.use()
	switch {
	case file == "index.m3u8":
		w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
		fmt.Fprint(w, s.playlist())
	case segmentName.MatchString(file):
		if err := s.await(r.Context(), file); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeFile(w, r, s.path(file))
	default:
		http.NotFound(w, r)
	}
}

// playlist names every segment from the start, so that a player can go anywhere in the film.
func (s *session) playlist() string {
	var text strings.Builder
	fmt.Fprintf(&text, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:%d\n#EXT-X-PLAYLIST-TYPE:VOD\n"+
		"#EXT-X-MAP:URI=\"init.mp4\"\n", segmentSeconds+1)
	for n := 0; n < s.segments; n++ {
		seconds := math.Min(segmentSeconds, s.seconds-float64(n*segmentSeconds))
		fmt.Fprintf(&text, "#EXTINF:%.3f,\nseg-%d.m4s\n", seconds, n)
	}
	text.WriteString("#EXT-X-ENDLIST\n")
	return text.String()
}

// await waits until a file is there and whole.
func (s *session) await(ctx context.Context, file string) error {
	wanted := file
	if file == "init.mp4" {
		wanted = "seg-0.m4s" // the init segment has its name before it is whole, and is whole before the first segment
	}
	ctx, cancel := context.WithTimeout(ctx, segmentPatience)
	defer cancel()
	for {
		var ended bool
		select {
		case <-s.encoded:
			ended = true
		default:
		}
		_, err := os.Stat(s.path(wanted))
		if err == nil || !errors.Is(err, fs.ErrNotExist) || ended {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not encoded yet", file)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
