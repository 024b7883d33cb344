package devices

import "strings"

// Language is one in which the sentences of a site's history are written.
type Language string

const (
	English Language = "en"
	French  Language = "fr"
)

// Languages lists all of them; the first is that of a site for which none was chosen.
func Languages() []Language { return []Language{English, French} }

// Text is a sentence in each Language. It may hold variables: {device}, {group} and
// {scenario} for the label of what it is about, {who} for the person and the application.
type Text struct{ English, French string }

// In gives the sentence in that language; in English if l is none.
func (t Text) In(l Language) string {
	if l == French {
		return t.French
	}
	return t.English
}

// fill puts values in the place of variables: pairs of a name and its value. Who did it may
// be a scenario in quotation marks; in any other value they become apostrophes.
func fill(sentence string, values ...string) string {
	pairs := make([]string, 0, len(values))
	for i := 0; i+1 < len(values); i += 2 {
		name, value := values[i], values[i+1]
		if name != "who" {
			value = quotable(value)
		}
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...).Replace(sentence)
}

// quotable gives a name to stand in quotation marks: one that closed them could go on as
// if the house were speaking.
func quotable(name string) string {
	return strings.NewReplacer("“", "'", "”", "'", "„", "'", "‟", "'", "«", "'", "»", "'", `"`, "'").Replace(name)
}

// Why a command was not done, as the end of a sentence.
func whyNot(c Command) Text {
	switch {
	case c.Outcome == Offline:
		return Text{"the unit is offline", "le boîtier est hors ligne"}
	case c.Outcome == Refused && c.Reason != "":
		return Text{"the unit refused: " + c.Reason, "le boîtier a refusé : " + c.Reason}
	case c.Outcome == Refused:
		return Text{"the unit refused", "le boîtier a refusé"}
	default:
		return Text{"the unit did not answer", "le boîtier n’a pas répondu"}
	}
}

// failed is what the history says of a command that was not done; nil if the command
// says nothing of it. It is a diagnosis, so that who asks for the latest entry of the
// alarm's own type reads who changed it.
func failed(c Command) *Entry {
	if c.Failure == "" {
		return nil
	}
	return &Entry{
		SiteID: c.SiteID, Type: HistoryDiagnosis, CreatedAt: c.FinishedAt,
		Label: c.Failure + colon().In(c.Language) + whyNot(c).In(c.Language),
	}
}

// colon stands between what a sentence is about and the rest of it.
func colon() Text { return Text{": ", " : "} }
