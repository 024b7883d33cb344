package web

import (
	"html/template"
	"strconv"
	"time"
)

// month is the name of a month inside a date.
func month(lang Language, m time.Month) string {
	if lang == French {
		return [...]string{
			"janvier", "février", "mars", "avril", "mai", "juin",
			"juillet", "août", "septembre", "octobre", "novembre", "décembre",
		}[m-1]
	}
	return m.String()
}

// date is the day of t, in t's own location.
func date(lang Language, t time.Time) string {
	return dayOf(lang, t) + " " + month(lang, t.Month()) + " " + strconv.Itoa(t.Year())
}

func dayOf(lang Language, t time.Time) string {
	if lang == French && t.Day() == 1 {
		return "1er"
	}
	return strconv.Itoa(t.Day())
}

// dayMonth is the day of t without its year, in few letters, in t's own location.
func dayMonth(lang Language, t time.Time) string {
	if lang == French {
		return dayOf(lang, t) + " " + [...]string{
			"janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc.",
		}[t.Month()-1]
	}
	return t.Format("2 Jan")
}

// dateElement is a time element that shows the day of t; for no time it is a word.
func (c *catalogue) dateElement(lang Language, t time.Time) template.HTML {
	if t.IsZero() {
		return c.never(lang)
	}
	return timeElement(t.Format(time.DateOnly), "", date(lang, t))
}

// datetimeElement is a time element that shows t to the minute in t's own location;
// where there is script it is shown in the reader's.
func (c *catalogue) datetimeElement(lang Language, t time.Time) template.HTML {
	if t.IsZero() {
		return c.never(lang)
	}
	return timeElement(t.UTC().Format(time.RFC3339), " data-local", date(lang, t)+t.Format(", 15:04 MST"))
}

// utcElement is a time element that shows t in UTC to every reader.
func (c *catalogue) utcElement(lang Language, t time.Time) template.HTML {
	if t.IsZero() {
		return c.never(lang)
	}
	t = t.UTC()
	return timeElement(t.Format(time.RFC3339), "", date(lang, t)+t.Format(", 15:04 MST"))
}

func (c *catalogue) never(lang Language) template.HTML {
	return template.HTML(template.HTMLEscapeString(c.fixed(lang, "web.never"))) // #nosec G203 -- escaped
}

func timeElement(machine, attribute, words string) template.HTML {
	return template.HTML(`<time datetime="` + machine + `"` + attribute + `>` + template.HTMLEscapeString(words) + `</time>`) // #nosec G203 -- escaped
}
