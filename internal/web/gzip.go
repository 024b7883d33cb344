package web

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
)

// Gzip compresses content that is made once and sent often, as well as it can.
func Gzip(content []byte) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err == nil {
		_, err = z.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil { // the level is one, and a buffer takes everything
		panic(err)
	}
	return out.Bytes()
}

// TakesGzip reports whether who asks takes an answer that is compressed (RFC 9110
// section 12.5.3). An answer that depends on it has Accept-Encoding in its Vary.
func TakesGzip(r *http.Request) bool {
	for _, value := range r.Header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(value, ",") {
			name, parameters, _ := strings.Cut(coding, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				return !isZero(parameters)
			}
		}
	}
	return false
}

// isZero reports whether the weight of a coding forbids it.
func isZero(parameters string) bool {
	weight, is := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameters)), "q=")
	if !is {
		return false
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
	return err != nil || q == 0
}
