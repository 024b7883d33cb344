package oauth_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

// drawn is a red picture.
func drawn(width, height int) image.Image {
	p := image.NewNRGBA(image.Rect(0, 0, width, height))
	for x := range width {
		for y := range height {
			p.Set(x, y, color.NRGBA{R: 255, A: 255})
		}
	}
	return p
}

func asPNG(t testing.TB, p image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, p))
	return out.Bytes()
}

// chunk is one of a PNG.
func chunk(kind string, data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(append([]byte(kind), data...)))
}

// headed puts a chunk behind the header of a PNG, which is 33 bytes long.
func headed(picture, chunk []byte) []byte {
	return bytes.Join([][]byte{picture[:33], chunk, picture[33:]}, nil)
}

func TestALogoIsDrawnAnew(t *testing.T) {
	t.Parallel()
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, drawn(300, 100), nil))
	for name, upload := range map[string][]byte{
		"PNG": headed(asPNG(t, drawn(300, 100)), chunk("tEXt", []byte("Comment\x00<script>"))), "JPEG": photo.Bytes(),
	} {
		kept, err := oauth.Logo(upload)
		require.NoError(t, err, name)
		require.NotContains(t, string(kept), "script")
		p, err := png.Decode(bytes.NewReader(kept))
		require.NoError(t, err)
		require.Equal(t, image.Rect(0, 0, 128, 128), p.Bounds())
		for at, opaque := range map[image.Point]bool{
			{X: 64, Y: 64}: true, {X: 1, Y: 64}: true, {X: 126, Y: 64}: true, // as wide as it goes
			{X: 64, Y: 10}: false, {X: 64, Y: 118}: false, // 43 high, in the middle
		} {
			r, _, _, a := p.At(at.X, at.Y).RGBA()
			require.Equal(t, opaque, a > 0xf000, "%s at %s", name, at)
			require.Equal(t, opaque, r > 0xf000, "%s at %s", name, at)
		}
	}
	for _, size := range []image.Point{{1, 1}, {1, 1024}, {1024, 1}, {1024, 1024}, {128, 128}} {
		_, err := oauth.Logo(asPNG(t, drawn(size.X, size.Y)))
		require.NoError(t, err, size)
	}
}

func TestPicturesThatAreNoLogo(t *testing.T) {
	t.Parallel()
	small := asPNG(t, drawn(10, 10))
	// A header that announces 40,000 by 40,000 pixels, and nothing behind it.
	bomb := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", []byte("\x00\x00\x9c\x40\x00\x00\x9c\x40\x08\x06\x00\x00\x00"))...)
	var animation bytes.Buffer
	require.NoError(t, gif.Encode(&animation, drawn(10, 10), nil))
	for name, c := range map[string]struct {
		upload  []byte
		problem string
	}{
		"nothing":         {nil, "is neither PNG nor JPEG"},
		"SVG":             {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>`), "is neither PNG nor JPEG"},
		"GIF":             {animation.Bytes(), "is neither PNG nor JPEG"},
		"HTML":            {[]byte("<!DOCTYPE html><p>"), "is neither PNG nor JPEG"},
		"animated PNG":    {headed(small, chunk("acTL", make([]byte, 8))), "is animated"},
		"a bomb":          {bomb, "has more than 1024 by 1024 pixels"},
		"too wide":        {asPNG(t, drawn(1025, 1)), "has more than 1024 by 1024 pixels"},
		"too high":        {asPNG(t, drawn(1, 1025)), "has more than 1024 by 1024 pixels"},
		"cut short":       {small[:len(small)-20], "cannot be read"},
		"a signature":     {small[:8], "cannot be read"},
		"a JPEG's begin":  {[]byte("\xff\xd8\xff\xe0"), "cannot be read"},
		"larger than may": {append(small, make([]byte, 256<<10)...), "is larger than 256 KiB"},
	} {
		_, err := oauth.Logo(c.upload)
		var wrong *oauth.FieldError
		require.ErrorAs(t, err, &wrong, name)
		require.Equal(t, "logo", wrong.Field, name)
		require.Equal(t, c.problem, wrong.Problem, name)
	}
}

// scanned is a JPEG that is drawn in so many scans, each over the whole of it.
func scanned(t testing.TB, scans int) []byte {
	t.Helper()
	var photo bytes.Buffer
	require.NoError(t, jpeg.Encode(&photo, drawn(16, 16), nil))
	head, rest, found := bytes.Cut(photo.Bytes(), []byte("\xff\xda"))
	require.True(t, found)
	scan := append([]byte("\xff\xda"), bytes.TrimSuffix(rest, []byte("\xff\xd9"))...)
	return bytes.Join([][]byte{head, bytes.Repeat(scan, scans), []byte("\xff\xd9")}, nil)
}

// A scan of a few bytes makes the decoder go over the whole picture.
func TestALogoOfManyScansIsRefused(t *testing.T) {
	t.Parallel()
	for scans, taken := range map[int]bool{1: true, 20: true, 21: false, 300: false} {
		upload := scanned(t, scans)
		for name, upload := range map[string][]byte{
			"as encoders make it": upload,
			"fill bytes":          bytes.ReplaceAll(upload, []byte("\xff\xda"), []byte("\xff\xff\xff\xda")),
			"between scans":       bytes.ReplaceAll(upload, []byte("\xff\xda"), []byte("\x00\xff\x00\xff\xd3\x01\xff\xda")),
			"a comment":           bytes.Replace(upload, []byte("\xff\xda"), []byte("\xff\xfe\x00\x06\xff\xd9\xff\xda\xff\xda"), 1),
		} {
			_, err := oauth.Logo(upload)
			if taken {
				require.NoError(t, err, "%d scans, %s", scans, name)
				continue
			}
			var wrong *oauth.FieldError
			require.ErrorAs(t, err, &wrong, "%d scans, %s", scans, name)
			require.Equal(t, "is drawn in more than 20 scans", wrong.Problem)
		}
	}
}

func FuzzLogo(f *testing.F) {
	f.Add(asPNG(f, drawn(3, 2)))
	var photo bytes.Buffer
	require.NoError(f, jpeg.Encode(&photo, drawn(2, 3), nil))
	f.Add(photo.Bytes())
	f.Fuzz(func(t *testing.T, upload []byte) {
		kept, err := oauth.Logo(upload)
		if err != nil {
			var wrong *oauth.FieldError
			require.ErrorAs(t, err, &wrong)
			return
		}
		size, err := png.DecodeConfig(bytes.NewReader(kept))
		require.NoError(t, err)
		require.Equal(t, 128, size.Width)
		require.Equal(t, 128, size.Height)
	})
}
