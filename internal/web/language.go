package web

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Language is a language that pages are written in, as a BCP 47 tag.
type Language string

// The languages of the pages.
const (
	English Language = "en"
	French  Language = "fr"
)

// languages lists all languages; the first is that of readers who ask for none of them.
func languages() [2]Language { return [...]Language{English, French} }

// name is what the language calls itself.
func (l Language) name() string {
	if l == French {
		return "Français"
	}
	return "English"
}

// Singular reports whether the language speaks of so many things as it does of one.
func (l Language) Singular(n int64) bool { return n == 1 || n == 0 && l == French }

type languageChoice struct {
	Language Language
	Name     string
	Current  bool
}

func choices(current Language) []languageChoice {
	var all []languageChoice
	for _, l := range languages() {
		all = append(all, languageChoice{Language: l, Name: l.name(), Current: l == current})
	}
	return all
}

// LanguagePath is where the switch of languages is served.
const LanguagePath = "/language"

// languageLasts is how long a chosen language is remembered.
const languageLasts = 365 * 24 * time.Hour

// Language is the language to answer r in: the one that its sender chose, else the one
// that the browser prefers, else English.
func (p *Pages) Language(r *http.Request) Language {
	if l, ok := language(p.cookie(r, languageCookie)); ok {
		return l
	}
	return acceptLanguage(r.Header.Values("Accept-Language"))
}

// language is the language of that tag.
func language(tag string) (Language, bool) {
	for _, l := range languages() {
		if tag == string(l) {
			return l, true
		}
	}
	return English, false
}

// LanguageSwitch takes the form of the footer: it remembers the language and goes back
// to the page.
func (p *Pages) LanguageSwitch() http.Handler {
	return p.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			p.Error(w, r, http.StatusMethodNotAllowed, "")
			return
		}
		form, err := ParseForm(w, r, "language", "return")
		if err != nil {
			p.Refuse(w, r, err)
			return
		}
		l, ok := language(form.Get("language"))
		if !ok {
			p.Error(w, r, http.StatusBadRequest, "")
			return
		}
		p.setCookie(w, languageCookie, string(l), languageLasts)
		back := form.Get("return")
		if !LocalPath(back) {
			back = "/"
		}
		p.Redirect(w, back)
	}))
}

// Bounds of an Accept-Language header that is read.
const (
	maxAcceptLanguage = 1 << 10 // bytes of one header line
	maxRanges         = 32
)

// acceptLanguage chooses among our languages by the Accept-Language header (RFC 9110
// section 12.5.4). A range counts for a language when their first subtags are equal;
// what is malformed is left out. Between equals the one named first is chosen, and what
// "*" stands for comes after what is named.
func acceptLanguage(header []string) Language {
	named, others := make(map[Language]int), -1
	var order []Language
	ranges := 0
	for _, line := range header {
		line = line[:min(len(line), maxAcceptLanguage)]
		for element := range strings.SplitSeq(line, ",") {
			if ranges++; ranges > maxRanges {
				break
			}
			tag, parameters, _ := strings.Cut(element, ";")
			quality, ok := quality(parameters)
			if !ok {
				continue
			}
			primary, _, _ := strings.Cut(strings.ToLower(strings.Trim(tag, " \t")), "-")
			if primary == "*" {
				others = max(others, quality)
				continue
			}
			l, ours := language(primary)
			if !ours {
				continue
			}
			if had, seen := named[l]; !seen {
				order = append(order, l)
				named[l] = quality
			} else {
				named[l] = max(had, quality)
			}
		}
	}
	for _, l := range languages() {
		if _, seen := named[l]; !seen {
			order = append(order, l)
			named[l] = others
		}
	}
	best, most := English, 0
	for _, l := range order {
		if named[l] > most {
			best, most = l, named[l]
		}
	}
	return best
}

// quality is a weight in thousandths (RFC 9110 section 12.4.2); no parameter is 1000.
func quality(parameters string) (int, bool) {
	parameters = strings.Trim(parameters, " \t")
	if parameters == "" {
		return 1000, true
	}
	name, value, _ := strings.Cut(parameters, "=")
	if !strings.EqualFold(name, "q") {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(value, ".")
	if (whole != "0" && whole != "1") || len(fraction) > 3 {
		return 0, false
	}
	thousandths, err := strconv.ParseUint(whole+(fraction + "000")[:3], 10, 16)
	if err != nil || thousandths > 1000 {
		return 0, false
	}
	return int(thousandths), true
}
