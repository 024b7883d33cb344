package oauth

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
)

// LogoMax is how many bytes a picture may have that is uploaded as a logo.
const LogoMax = 256 << 10

const (
	logoSize    = 128     // pixels on each side of what is kept
	logoSideMax = 1 << 10 // pixels on each side of what is uploaded
	scansMax    = 20      // of a JPEG; encoders make about 10 of a progressive one
)

// Logo makes the picture that is kept of an upload, which is a PNG or a JPEG of at most
// LogoMax bytes and 1024 by 1024 pixels, not animated, and drawn in at most 20 scans. It is decoded and drawn
// anew, 128 by 128 pixels with its proportions kept, so that nothing else that the
// upload may hold remains; the result is a PNG. What is no such picture is a
// *FieldError.
func Logo(upload []byte) ([]byte, error) {
	wrong := func(problem string, err error) error { return &FieldError{Field: "logo", Problem: problem, Err: err} }
	if len(upload) > LogoMax {
		return nil, wrong("is larger than 256 KiB", nil)
	}
	format := pictures()[signature(upload)]
	if format.decode == nil {
		return nil, wrong("is neither PNG nor JPEG", nil)
	}
	// The size comes first: a few bytes can announce more pixels than there is memory.
	size, err := format.config(bytes.NewReader(upload))
	switch {
	case err != nil:
		return nil, wrong("cannot be read", err)
	case size.Width < 1 || size.Height < 1 || size.Width > logoSideMax || size.Height > logoSideMax:
		return nil, wrong("has more than 1024 by 1024 pixels", nil)
	case isAnimated(upload):
		return nil, wrong("is animated", nil)
	case scans(upload) > scansMax:
		return nil, wrong("is drawn in more than 20 scans", nil)
	}
	picture, err := format.decode(bytes.NewReader(upload))
	if err != nil {
		return nil, wrong("cannot be read", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, fitted(picture)); err != nil {
		return nil, fmt.Errorf("encode logo: %w", err)
	}
	return out.Bytes(), nil
}

// picture is how a format of pictures is read.
type picture struct {
	config func(r reader) (image.Config, error)
	decode func(r reader) (image.Image, error)
}

type reader = *bytes.Reader

const (
	pngSignature  = "\x89PNG\r\n\x1a\n"
	jpegSignature = "\xff\xd8\xff"
)

// pictures are the formats by the bytes in which they begin. The registry of package
// image would take whatever some other package has added to it.
func pictures() map[string]picture {
	return map[string]picture{
		pngSignature: {
			func(r reader) (image.Config, error) { return png.DecodeConfig(r) },
			func(r reader) (image.Image, error) { return png.Decode(r) },
		},
		jpegSignature: {
			func(r reader) (image.Config, error) { return jpeg.DecodeConfig(r) },
			func(r reader) (image.Image, error) { return jpeg.Decode(r) },
		},
	}
}

func signature(data []byte) string {
	for s := range pictures() {
		if bytes.HasPrefix(data, []byte(s)) {
			return s
		}
	}
	return ""
}

// isAnimated reports whether a PNG has an acTL chunk, which makes an animation of it
// (Portable Network Graphics, third edition, section 11.3.6.1).
func isAnimated(data []byte) bool {
	rest, is := bytes.CutPrefix(data, []byte(pngSignature))
	for is && len(rest) >= 8 {
		length, kind := uint64(binary.BigEndian.Uint32(rest)), string(rest[4:8])
		if kind == "acTL" {
			return true
		}
		if next := 12 + length; next <= uint64(len(rest)) { // length, type, data, checksum
			rest = rest[next:]
		} else {
			break
		}
	}
	return false
}

// scans counts the scans of a JPEG (ITU-T T.81, section B.2), 0 of anything else. A scan
// goes over the whole picture, however few bytes it has, so that their number is what
// decoding costs. Every SOS marker counts that stands where package jpeg may look for a
// marker: after a segment, or after the data of a scan, within which FF is followed by
// 00 or a restart marker.
func scans(data []byte) (n int) {
	const sos, eoi, first, last = 0xda, 0xd9, 0xd0, 0xd7 // restart markers are first to last
	if !bytes.HasPrefix(data, []byte(jpegSignature)) {
		return 0
	}
	for rest := data[2:]; ; {
		at := bytes.IndexByte(rest, 0xff)
		if at < 0 || at+1 >= len(rest) {
			return n
		}
		marker := rest[at+1]
		rest = rest[at+1:]
		switch {
		case marker == 0xff: // it fills
			continue
		case marker == 0, first <= marker && marker <= last:
			rest = rest[1:]
			continue
		case marker == eoi:
			return n
		case marker == sos:
			n++
		}
		if len(rest) < 3 {
			return n
		}
		length := int(binary.BigEndian.Uint16(rest[1:]))
		if length < 2 || 1+length > len(rest) {
			return n
		}
		rest = rest[1+length:]
	}
}

// fitted draws a picture as large as it fits, in the middle.
func fitted(from image.Image) image.Image {
	to := image.NewNRGBA(image.Rect(0, 0, logoSize, logoSize))
	width, height := from.Bounds().Dx(), from.Bounds().Dy()
	longer := max(width, height)
	width, height = max(1, width*logoSize/longer), max(1, height*logoSize/longer)
	at := image.Pt((logoSize-width)/2, (logoSize-height)/2)
	draw.CatmullRom.Scale(to, image.Rectangle{Min: at, Max: at.Add(image.Pt(width, height))}, from, from.Bounds(), draw.Src, nil)
	return to
}
