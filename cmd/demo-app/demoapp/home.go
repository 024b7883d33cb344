package demoapp

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"
)

// view is what the page is given.
type view struct {
	Connected bool
	Notice    string // of what was done
	Problem   string // of what went wrong
	Sites     []site
	Denied    []string // what the person did not allow, as the end of a sentence
}

// alarm is the alarm of a home with what the person can do to it.
type alarm struct {
	Level   string // in words; empty if the application may not see it
	Buttons []button
}

// group is the devices of one kind with what the person can do to each.
type group struct {
	Heading string
	Kind    string
	Devices []device
	Buttons []button
}

// button is an operation of the API.
type button struct {
	Operation string
	Text      string
	scope     string // without which it is not shown
	done      string // what is said when the home did it: of a device, after its name
}

const maxSites = 20 // on the page

// kinds are the devices that the application knows.
func kinds() []group {
	return []group{
		{Heading: "Sockets", Kind: "socket", Buttons: []button{
			{"on", "Switch on", "socket:operate", "is switched on."},
			{"off", "Switch off", "socket:operate", "is switched off."},
		}},
		{Heading: "Shutters", Kind: "shutter", Buttons: []button{
			{"open", "Open", "shutter:operate", "is opening."},
			{"close", "Close", "shutter:operate", "is closing."},
		}},
	}
}

func levels() []button {
	return []button{
		{"armed", "Arm", "security:arm", "The home is armed."},
		{"partial", "Arm partially", "security:arm", "The home is partially armed."},
		{"disarmed", "Disarm", "security:disarm", "The home is disarmed."},
	}
}

// inWords says how the alarm stands.
func inWords(level string) string {
	words := map[string]string{"armed": "armed", "partial": "partially armed", "disarmed": "disarmed"}[level]
	if words == "" {
		return "not known"
	}
	return words
}

// wish is a scope that the application asks for, with what it is good for.
type wish struct{ scope, text string }

func wishes() []wish {
	return []wish{
		{"security:read", "see whether the home is armed"},
		{"security:arm", "arm the home"},
		{"security:disarm", "disarm the home"},
		{"socket:read", "see the sockets"},
		{"socket:operate", "switch the sockets"},
		{"shutter:read", "see the shutters"},
		{"shutter:operate", "open and close the shutters"},
	}
}

// Scopes are what the application asks for: no more than it has a use for. An application that
// is registered for less is refused.
func Scopes() []string {
	var scopes []string
	for _, w := range wishes() {
		scopes = append(scopes, w.scope)
	}
	return scopes
}

// denied is what the person did not allow.
func (s session) denied() []string {
	var texts []string
	for _, w := range wishes() {
		if !s.allows(w.scope) {
			texts = append(texts, w.text)
		}
	}
	return texts
}

// allows reports whether the person allowed the application what a scope stands for.
func (s session) allows(scope string) bool {
	return s.Scope == "" || slices.Contains(strings.Fields(s.Scope), scope)
}

func (s session) allowed(buttons []button) []button {
	return slices.DeleteFunc(buttons, func(b button) bool { return !s.allows(b.scope) })
}

// show is the front page: the button, or the home.
func (a *App) show(w http.ResponseWriter, r *http.Request) {
	s, err := a.renewed(r.Context(), a.sessions.read(r))
	v := view{Notice: s.Notice, Problem: s.Problem, Connected: s.Token != nil}
	if err == nil && v.Connected {
		v.Sites, err = a.homes(r.Context(), s)
	}
	if v.Connected {
		v.Denied = s.denied()
	}
	if isOver(err) {
		s, v = session{}, view{Problem: "The access has ended. Authorize again."}
	} else if err != nil {
		v.Problem = err.Error()
	}
	s.Notice, s.Problem = "", ""
	if err := a.sessions.write(w, s); err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, v)
}

// renewed gives the session with an access token that is live, if there is any.
func (a *App) renewed(ctx context.Context, s session) (session, error) {
	if s.Token == nil {
		return s, nil
	}
	token, err := a.oauth.TokenSource(a.withClient(ctx), s.Token).Token()
	if refused, is := errors.AsType[*oauth2.RetrieveError](err); is && refused.ErrorCode == "invalid_grant" {
		return s, &problem{Status: http.StatusUnauthorized, Description: "The access has ended."}
	}
	if err != nil {
		a.log.WarnContext(ctx, "token not renewed", "reason", reasonOf(err))
		return s, &problem{Description: "The access could not be renewed: " + reasonOf(err) + "."}
	}
	s.Token = token
	return s, nil
}

// isOver reports whether the person, or Foxbridge, has taken the access back.
func isOver(err error) bool {
	p, is := errors.AsType[*problem](err)
	return is && p.Status == http.StatusUnauthorized
}

// homes are the person's homes with what the application may see of them.
func (a *App) homes(ctx context.Context, s session) ([]site, error) {
	sites, err := a.api.sites(ctx, s.Token)
	if err != nil {
		return nil, err
	}
	sites = sites[:min(len(sites), maxSites)]
	for i := range sites {
		if err := a.fill(ctx, s, &sites[i]); err != nil {
			return nil, err
		}
	}
	return sites, nil
}

func (a *App) fill(ctx context.Context, s session, home *site) error {
	if s.allows("security:read") || s.allows("security:arm") || s.allows("security:disarm") {
		home.Alarm = &alarm{Buttons: s.allowed(levels())}
	}
	if s.allows("security:read") {
		level, err := a.api.alarm(ctx, s.Token, home.ID)
		if err := home.note(err); err != nil {
			return err
		}
		home.Alarm.Level = inWords(level)
	}
	for _, g := range kinds() {
		if !s.allows(g.Kind + ":read") {
			continue
		}
		var err error
		g.Devices, err = a.api.devices(ctx, s.Token, strconv.FormatInt(home.ID, 10), g.Kind)
		if err := home.note(err); err != nil {
			return err
		}
		g.Buttons = s.allowed(g.Buttons)
		if len(g.Devices) > 0 {
			home.Groups = append(home.Groups, g)
		}
	}
	return nil
}

// note keeps why something of a home is not shown. The end of the access is not its
// trouble, but everything's.
func (s *site) note(err error) error {
	if isOver(err) {
		return err
	}
	if err != nil {
		s.Trouble = err.Error()
	}
	return nil
}

// command carries out a button, and says what the home did.
func (a *App) command(w http.ResponseWriter, r *http.Request) {
	b, path, ok := commandOf(r)
	if !ok {
		a.render(w, r, http.StatusNotFound, view{Problem: "There is no such button."})
		return
	}
	s, err := a.renewed(r.Context(), a.sessions.read(r))
	if err == nil && s.Token != nil {
		err = a.api.do(r.Context(), s.Token, http.MethodPost, path, nil)
	}
	switch {
	case s.Token == nil:
		a.trouble(w, r, session{}, "Authorize first.")
	case isOver(err):
		a.trouble(w, r, session{}, "The access has ended. Authorize again.")
	case err != nil:
		a.trouble(w, r, s, "That was not done. "+err.Error())
	default:
		a.home(w, r, s, a.done(r, s, b))
	}
}

// done says what the home did, and to which device.
func (a *App) done(r *http.Request, s session, b button) string {
	kind := r.PathValue("kind")
	if kind == "" {
		return b.done
	}
	if s.allows(kind + ":read") {
		devices, err := a.api.devices(r.Context(), s.Token, r.PathValue("site"), kind)
		if err != nil {
			a.log.InfoContext(r.Context(), "device not named", "err", err) // it is done all the same
		}
		for _, d := range devices {
			if strconv.FormatInt(d.ID, 10) == r.PathValue("device") {
				return d.Label + " " + b.done
			}
		}
	}
	return "The " + kind + " " + b.done
}

// commandOf finds the button, and the path of its operation in the API.
func commandOf(r *http.Request) (b button, path string, ok bool) {
	if !isNumber(r.PathValue("site")) {
		return button{}, "", false
	}
	site, operation := "/site/"+r.PathValue("site"), r.PathValue("operation")
	if r.PathValue("kind") == "" {
		b, ok = find(levels(), operation)
		return b, site + "/security/set/" + operation, ok
	}
	for _, g := range kinds() {
		if g.Kind == r.PathValue("kind") && isNumber(r.PathValue("device")) {
			b, ok = find(g.Buttons, operation)
			return b, site + "/device/" + r.PathValue("device") + "/" + g.Kind + "/" + operation, ok
		}
	}
	return button{}, "", false
}

func find(buttons []button, operation string) (button, bool) {
	i := slices.IndexFunc(buttons, func(b button) bool { return b.Operation == operation })
	if i < 0 {
		return button{}, false
	}
	return buttons[i], true
}

func isNumber(s string) bool { return s != "" && len(s) < 20 && strings.Trim(s, "0123456789") == "" }

func (a *App) render(w http.ResponseWriter, r *http.Request, status int, v view) {
	var body bytes.Buffer
	if err := a.page.Execute(&body, v); err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if _, err := w.Write(body.Bytes()); err != nil {
		a.log.DebugContext(r.Context(), "page not sent", "err", err)
	}
}
