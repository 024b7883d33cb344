package app

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/foxbridge/foxbridge/oauth"
)

// switcher switches applications off and on, as an oauth.Service does.
type switcher interface {
	SwitchOff(ctx context.Context, clientID string, by oauth.Actor, key, reason string) (bool, error)
	Reactivate(ctx context.Context, clientID string, by oauth.Actor, key, reason string) (bool, error)
}

// Bounds of what comes to the webhook.
const (
	maxAlertBody   = 1 << 20 // bytes
	maxAlerts      = 1000    // in one body
	maxAlertReason = 300     // characters
	alertTimeout   = 10 * time.Second
)

// alertOptions are what the receiver of alerts works with; all are required.
type alertOptions struct {
	token    string
	switcher switcher
	observe  func(result string) // of each alert, and of each request that was refused
	log      *slog.Logger
}

// alertReceiver is the receiver of Alertmanager's webhook
// (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, version 4).
//
// A firing alert switches off the application that its label client_id names, or on
// again if its label action is reactivate. A resolved alert does nothing: an application
// that was switched off wastes no tokens, and that must not bring it back. An alert that
// comes again, as Alertmanager repeats them, does nothing either: an owner who has
// reactivated the application is not overruled by an alert that was carried out before.
//
// The answer is 200 if all that had to be done is done; 400 if some alerts make no sense,
// after the others were carried out; 500 if some could not be carried out, upon which
// Alertmanager tries again.
type alertReceiver struct{ alertOptions }

// alertGroup is the body of Alertmanager's webhook, as far as it is used.
type alertGroup struct {
	Version string  `json:"version"`
	Alerts  []alert `json:"alerts"`
}

type alert struct {
	Status      string            `json:"status"` // firing or resolved
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	Fingerprint string            `json:"fingerprint"`
}

// Results of an alert.
const (
	alertSwitched     = "switched"
	alertUnchanged    = "unchanged" // carried out before, or the application was so already
	alertResolved     = "resolved"
	alertNonsense     = "nonsense"
	alertFailed       = "failed"
	alertUnauthorized = "unauthorized" // of a request
)

// alertResults are all of them.
func alertResults() []string {
	return []string{alertSwitched, alertUnchanged, alertResolved, alertNonsense, alertFailed, alertUnauthorized}
}

func (h alertReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "alerts are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	if !h.authorized(r) {
		h.observe(alertUnauthorized)
		h.log.WarnContext(r.Context(), "alerts refused: no bearer token, or a wrong one", "remote", r.RemoteAddr)
		w.Header().Set("WWW-Authenticate", `Bearer realm="alerts"`)
		http.Error(w, "the bearer token is missing or wrong", http.StatusUnauthorized)
		return
	}
	group, status, err := readAlerts(http.MaxBytesReader(w, r.Body, maxAlertBody))
	if err != nil {
		h.observe(alertNonsense)
		h.log.WarnContext(r.Context(), "alerts refused", "err", err)
		http.Error(w, err.Error(), status)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), alertTimeout)
	defer cancel()
	h.answer(w, h.receiveAll(ctx, group.Alerts))
}

// authorized compares digests: the time that it takes tells nothing of the token, not
// even its length.
func (h alertReceiver) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given, right := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(h.token))
	return strings.EqualFold(scheme, "Bearer") && h.token != "" && subtle.ConstantTimeCompare(given[:], right[:]) == 1
}

func readAlerts(body io.Reader) (alertGroup, int, error) {
	var group alertGroup
	decoder := json.NewDecoder(body)
	err := decoder.Decode(&group)
	if err == nil {
		_, err = decoder.Token()
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge:
		return alertGroup{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxAlertBody)
	case !errors.Is(err, io.EOF) || group.Alerts == nil:
		return alertGroup{}, http.StatusBadRequest, errors.New("the body is not that of Alertmanager's webhook")
	case group.Version != "4":
		return alertGroup{}, http.StatusBadRequest, errors.New("the version of the webhook is not 4")
	case len(group.Alerts) > maxAlerts:
		return alertGroup{}, http.StatusRequestEntityTooLarge, fmt.Errorf("more than %d alerts", maxAlerts)
	}
	return group, 0, nil
}

// outcome is what became of an alert, as the answer tells it.
type outcome struct {
	Alert    string `json:"alert"`
	ClientID string `json:"client_id"`
	Result   string `json:"result"`
	Wrong    string `json:"wrong,omitempty"` // with nonsense and failed, a fixed phrase
}

func (h alertReceiver) receiveAll(ctx context.Context, alerts []alert) []outcome {
	outcomes := make([]outcome, 0, len(alerts))
	for _, a := range alerts {
		o := outcome{Alert: line(a.Labels["alertname"], maxAlertReason), ClientID: line(a.Labels["client_id"], maxAlertReason)}
		o.Result, o.Wrong = h.receive(ctx, a)
		h.observe(o.Result)
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// receive carries out one alert.
func (h alertReceiver) receive(ctx context.Context, a alert) (result, wrong string) {
	wish, wrong := wishOf(a)
	log := h.log.With("alert", wish.reason, "client_id", wish.clientID, "off", wish.off)
	if wrong != "" {
		log.WarnContext(ctx, "alert makes no sense", "wrong", wrong)
		return alertNonsense, wrong
	}
	if a.Status == "resolved" {
		return alertResolved, ""
	}
	carryOut := h.switcher.Reactivate
	if wish.off {
		carryOut = h.switcher.SwitchOff
	}
	changed, err := carryOut(ctx, wish.clientID, oauth.ByAlert, wish.key, wish.reason)
	refused, is := errors.AsType[*oauth.FieldError](err)
	switch {
	case errors.Is(err, oauth.ErrNotFound):
		log.WarnContext(ctx, "alert names no application")
		return alertNonsense, "there is no such application"
	case is: // it would be refused again, however often it is sent
		log.WarnContext(ctx, "alert makes no sense", "wrong", refused.Error())
		return alertNonsense, refused.Error()
	case err != nil:
		log.ErrorContext(ctx, "alert not carried out", "err", err)
		return alertFailed, "the application could not be switched"
	case !changed:
		return alertUnchanged, ""
	}
	log.InfoContext(ctx, "application switched by an alert")
	return alertSwitched, ""
}

// wish is what an alert asks for.
type wish struct {
	clientID, reason, key string
	off                   bool
}

// wishOf reads an alert. wrong says in a fixed phrase what makes no sense about it.
func wishOf(a alert) (w wish, wrong string) {
	w = wish{
		clientID: line(a.Labels["client_id"], 32), off: true,
		reason: reasonOf(a),
		key:    "alert " + a.Fingerprint + " " + a.StartsAt.UTC().Format(time.RFC3339Nano),
	}
	switch action, given := a.Labels["action"]; {
	case action == "reactivate":
		w.off = false
	case given && action != "deactivate":
		return w, "the label action is neither deactivate nor reactivate"
	}
	switch {
	case a.Status != "firing" && a.Status != "resolved":
		return w, "the status is neither firing nor resolved"
	case !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(a.Labels["client_id"]):
		return w, "the label client_id is no application's"
	case a.Labels["alertname"] == "":
		return w, "the label alertname is missing"
	case !regexp.MustCompile(`^[0-9a-f]{1,64}$`).MatchString(a.Fingerprint):
		return w, "the fingerprint is missing or wrong"
	case a.StartsAt.IsZero() || a.StartsAt.Year() > 9999:
		return w, "startsAt is missing or wrong"
	}
	return w, ""
}

// reasonOf is what is recorded: the alert's name and what it says of itself.
func reasonOf(a alert) string {
	reason := "alert " + a.Labels["alertname"]
	for _, name := range []string{"summary", "description"} {
		if says := a.Annotations[name]; says != "" {
			reason += ": " + says
			break
		}
	}
	return line(reason, maxAlertReason)
}

// line makes a text short, one line, and free of what a reason cannot hold.
func line(s string, characters int) string {
	runes := []rune(oauth.OneLine(s))
	return string(runes[:min(len(runes), characters)])
}

func (h alertReceiver) answer(w http.ResponseWriter, outcomes []outcome) {
	status := http.StatusOK
	for _, o := range outcomes {
		switch {
		case o.Result == alertFailed:
			status = http.StatusInternalServerError
		case o.Result == alertNonsense && status == http.StatusOK:
			status = http.StatusBadRequest
		}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	body := struct {
		Alerts []outcome `json:"alerts"`
	}{outcomes}
	if err := json.NewEncoder(w).Encode(body); err != nil {
		h.log.Debug("answer to alerts not sent", "err", err)
	}
}
