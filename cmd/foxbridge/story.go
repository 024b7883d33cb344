package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/foxbridge/foxbridge/devices"
	unitlib "github.com/foxbridge/foxbridge/mqtt/unit"
)

// storyTimeout bounds one request of the story: a command is answered within 10 s.
const storyTimeout = 15 * time.Second

// story is what a homeowner's script does in a day, against a bridge with a
// simulated home, and the proof that the home really did it.
type story struct {
	env    demoEnv
	home   *unitlib.Home
	client *http.Client
	show   func(step) error

	token   string
	secrets *strings.Replacer // from the secrets of answers to their names
	wanted  []unitlib.Execution
}

// step is a request of the story with its answer, fit to be shown.
type step struct {
	Title  string `json:"title"`
	Curl   string `json:"curl"`
	Status int    `json:"status"`
	Answer string `json:"answer"` // without secrets
}

// showStep prints a step for people.
func showStep(w io.Writer, s step) error {
	_, err := fmt.Fprintf(w, "\n# %s\n$ %s\n%d %s\n", s.Title, s.Curl, s.Status, s.Answer)
	return err
}

func newStory(env demoEnv, home *unitlib.Home, show func(step) error) *story {
	return &story{
		env: env, home: home, show: show,
		client:  &http.Client{Timeout: storyTimeout, Transport: &http.Transport{}},
		secrets: strings.NewReplacer(),
	}
}

// play makes the requests one after the other, and checks each answer and then the
// home's own record. Its error says what was not as it should be.
func (s *story) play(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	for _, part := range []func(context.Context) error{s.signIn, s.alarm, s.shutter, s.socket, s.history} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return s.proof()
}

func (s *story) signIn(ctx context.Context) error {
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	call := tokenCall()
	a, err := call.do(ctx, s.client, s.env.lookup)
	if err != nil {
		return fmt.Errorf("%s: %w", call.title, err)
	}
	if err := json.Unmarshal(a.body, &tokens); err == nil && tokens.Access != "" && tokens.Refresh != "" {
		s.token = tokens.Access
		s.secrets = strings.NewReplacer(tokens.Access, "$TOKEN", tokens.Refresh, "$REFRESH_TOKEN")
	}
	if err := s.tell(call, a); err != nil {
		return err
	}
	if s.token == "" {
		return errors.New("no token was issued")
	}
	var sites struct {
		Items []struct {
			SiteID json.Number `json:"siteId"`
		} `json:"items"`
	}
	if _, err := s.ask(ctx, read("List the homes", "/v2/client/site/items"), &sites); err != nil {
		return err
	}
	for _, site := range sites.Items {
		if site.SiteID.String() == s.env.SiteID {
			return nil
		}
	}
	return errors.New("the home is not in the list")
}

func (s *story) alarm(ctx context.Context) error {
	for _, level := range []string{"armed", "disarmed"} {
		if err := s.order(ctx, "Set the alarm to "+level, devices.SecurityDevice, "/security/set/", level); err != nil {
			return err
		}
		var security struct {
			Label string `json:"statusLabel"`
		}
		if _, err := s.ask(ctx, read("Read the alarm back", siteOf("/security")), &security); err != nil {
			return err
		}
		if security.Label != level {
			return fmt.Errorf("the alarm was set to %s and reads %s", level, security.Label)
		}
	}
	return nil
}

func (s *story) shutter(ctx context.Context) error {
	id, err := s.firstDevice(ctx, devices.Shutter)
	if err != nil {
		return err
	}
	path := fmt.Sprintf("/device/%d/shutter/", id)
	if err := s.order(ctx, "Open a shutter", id, path, "open"); err != nil {
		return err
	}
	if err := s.order(ctx, "Close it again", id, path, "close"); err != nil {
		return err
	}
	var record struct {
		Outcome devices.Outcome `json:"outcome"`
	}
	last := s.wanted[len(s.wanted)-1].CommandID
	if _, err := s.ask(ctx, read("Read the record of that command", siteOf("/command/"+last)), &record); err != nil {
		return err
	}
	if record.Outcome != devices.Done {
		return fmt.Errorf("the record of the command says %s", record.Outcome)
	}
	return nil
}

func (s *story) socket(ctx context.Context) error {
	id, err := s.firstDevice(ctx, devices.Socket)
	if err != nil {
		return err
	}
	return s.order(ctx, "Switch a socket on", id, fmt.Sprintf("/device/%d/socket/", id), "on")
}

func (s *story) history(ctx context.Context) error {
	var history struct {
		Items []struct {
			Label string `json:"label"`
		} `json:"items"`
	}
	if _, err := s.ask(ctx, read("Read what happened", siteOf("/history?dateOrder=1")), &history); err != nil {
		return err
	}
	if len(history.Items) < len(s.wanted) {
		return fmt.Errorf("the history has %d entries after %d commands", len(history.Items), len(s.wanted))
	}
	return nil
}

// proof compares what the answers said with what the home itself knows.
func (s *story) proof() error {
	done := s.home.Executions()
	if len(done) != len(s.wanted) {
		return fmt.Errorf("%d commands were answered with OK, the home executed %d", len(s.wanted), len(done))
	}
	for i, wanted := range s.wanted {
		if done[i].CommandID != wanted.CommandID || done[i].Device != wanted.Device || done[i].Operation != wanted.Operation {
			return fmt.Errorf("the home executed %s of device %d where %s of device %d was answered with OK",
				done[i].Operation, done[i].Device, wanted.Operation, wanted.Device)
		}
	}
	last := s.wanted[len(s.wanted)-1]
	var alarm struct{ Level string }
	var socket struct{ On bool }
	states := s.home.States()
	if err := errors.Join(json.Unmarshal(states[devices.SecurityDevice], &alarm), json.Unmarshal(states[last.Device], &socket)); err != nil {
		return fmt.Errorf("read the home's states: %w", err)
	}
	if alarm.Level != "disarmed" || !socket.On {
		return errors.New("the home is not in the state that the answers said")
	}
	return nil
}

// firstDevice lists the devices of a kind and gives the first one's id.
func (s *story) firstDevice(ctx context.Context, kind devices.Kind) (int64, error) {
	var list struct {
		Items []struct {
			DeviceID int64 `json:"deviceId"`
		} `json:"items"`
	}
	if _, err := s.ask(ctx, read(fmt.Sprintf("List the %ss", kind), siteOf(fmt.Sprintf("/device/%s/items", kind))), &list); err != nil {
		return 0, err
	}
	if len(list.Items) == 0 {
		return 0, fmt.Errorf("the home has no %s", kind)
	}
	return list.Items[0].DeviceID, nil
}

// order gives a command, which must be answered with OK, and notes that the home has
// to have executed it.
func (s *story) order(ctx context.Context, title string, device int64, path, operation string) error {
	var done struct {
		Request string `json:"request"`
	}
	a, err := s.ask(ctx, order(title, siteOf(path+operation)), &done)
	if err != nil {
		return err
	}
	if done.Request != "OK" || a.command == "" {
		return fmt.Errorf("%s: the answer does not say that it was done", title)
	}
	s.wanted = append(s.wanted, unitlib.Execution{CommandID: a.command, Device: device, Operation: operation})
	return nil
}

// ask makes a call, shows it, and decodes the payload of its answer, which must be
// 200 and OK.
func (s *story) ask(ctx context.Context, c call, payload any) (answer, error) {
	a, err := c.do(ctx, s.client, func(name string) string {
		if name == "TOKEN" {
			return s.token
		}
		return s.env.lookup(name)
	})
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", c.title, err)
	}
	if err := s.tell(c, a); err != nil {
		return answer{}, err
	}
	envelope := struct {
		Status  string `json:"status"`
		Payload any    `json:"payload"`
	}{Payload: payload}
	if err := json.Unmarshal(a.body, &envelope); err != nil {
		return answer{}, fmt.Errorf("%s: read answer: %w", c.title, err)
	}
	if a.status != http.StatusOK || envelope.Status != "OK" {
		return answer{}, fmt.Errorf("%s: answered with %d", c.title, a.status)
	}
	return a, nil
}

func (s *story) tell(c call, a answer) error {
	text := s.secrets.Replace(strings.TrimSpace(string(a.body)))
	return s.show(step{Title: c.title, Curl: c.curl(), Status: a.status, Answer: text})
}

// siteOf is a path of the demo's home.
func siteOf(path string) string { return "/v2/site/$FOXBRIDGE_SITE_ID" + path }
