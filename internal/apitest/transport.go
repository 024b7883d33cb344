package apitest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Shared is Kept for a test.
func Shared(t testing.TB) *Checker {
	t.Helper()
	c, err := Kept()
	if err != nil {
		t.Fatalf("the description of the API cannot be read: %v", err)
	}
	return c
}

// Transport checks what goes through next. An exchange that is not as described is told,
// and is an error of the request. Nil tells nobody; see Wrong.
func (c *Checker) Transport(next http.RoundTripper, tell func(error)) http.RoundTripper {
	if tell == nil {
		tell = func(error) {}
	}
	return transport{c, next, tell}
}

type transport struct {
	*Checker
	next http.RoundTripper
	tell func(error)
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := &copied{ReadCloser: r.Body}
	through := r
	if r.Body != nil && r.Body != http.NoBody {
		through = r.Clone(r.Context())
		through.Body = sent
	}
	answer, err := t.next.RoundTrip(through)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil { // cut off: for the test to find out
		answer.Body = torn{io.MultiReader(bytes.NewReader(body), broken{err}), answer.Body}
		return answer, nil //nolint:nilerr // the header came
	}
	if err := answer.Body.Close(); err != nil {
		return nil, err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	e := Exchange{Request: r, Sent: []byte{}, Status: answer.StatusCode, Header: answer.Header, Body: body}
	if through != r {
		e.Sent = sent.whole()
	}
	if err := t.Check(e); err != nil {
		err = fmt.Errorf("not as the API is described: %w", err)
		t.tell(err)
		return nil, err
	}
	return answer, nil
}

// CloseIdleConnections passes on what http.Client asks for.
func (t transport) CloseIdleConnections() {
	if closer, is := t.next.(interface{ CloseIdleConnections() }); is {
		closer.CloseIdleConnections()
	}
}

// torn is a body that ends in an error.
type torn struct {
	io.Reader
	io.Closer
}

// broken is a body of which no more can be read.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// copied is a body that keeps what was read of it.
type copied struct {
	io.ReadCloser
	mu    sync.Mutex
	text  []byte
	ended bool
}

func (b *copied) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text = append(b.text, p[:n]...)
	b.ended = b.ended || err == io.EOF //nolint:errorlint // readers return it as it is
	return n, err
}

// whole is the body, or nil if it was not read to its end.
func (b *copied) whole() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		return nil
	}
	return append([]byte{}, b.text...)
}

// Handler checks what next answers. An exchange that is not as described fails t.
func (c *Checker) Handler(t testing.TB, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := r.Clone(r.Context())
		var sent *copied
		if r.Body != nil {
			sent = &copied{ReadCloser: r.Body}
			r.Body = sent
		}
		answer := httptest.NewRecorder()
		for name, values := range w.Header() {
			answer.Header()[name] = values
		}
		next.ServeHTTP(answer, r)
		e := Exchange{Request: asked, Status: answer.Code, Header: answer.Header(), Body: answer.Body.Bytes()}
		if sent != nil {
			e.Sent = sent.whole()
		}
		if err := c.Check(e); err != nil {
			t.Errorf("not as the API is described: %v", err)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // who has gone away misses nothing
	})
}
