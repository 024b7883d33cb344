package devicehttp

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/foxbridge/foxbridge/devices"
)

// timeFormat is the contract's only form of a date, always in UTC.
const timeFormat = "2006-01-02T15:04:05Z"

// site has every key that some client reads; counts are never null.
type site struct {
	SiteID                 int64   `json:"siteId"`
	Label                  string  `json:"label"`
	Brand                  string  `json:"brand"`
	Timezone               string  `json:"timezone"`
	AXA                    *string `json:"AXA"`
	CameraCount            int     `json:"cameraCount"`
	GateCount              int     `json:"gateCount"`
	ShutterCount           int     `json:"shutterCount"`
	SocketCount            int     `json:"socketCount"`
	ModuleCount            int     `json:"moduleCount"`
	HeaterCount            int     `json:"heaterCount"`
	ScenarioCount          int     `json:"scenarioCount"`
	DeviceTemperatureCount int     `json:"deviceTemperatureCount"`
	DeviceStateCount       int     `json:"deviceStateCount"`
	DeviceLightCount       int     `json:"deviceLightCount"`
	DeviceDetectorCount    int     `json:"deviceDetectorCount"`
	ArcsoftToken           *string `json:"arcsoftToken"`
	BuzzSiteID             *string `json:"buzzSiteId"`
}

func (h *Handler) listSites(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	list, err := h.service.Sites(r.Context(), c)
	if err != nil {
		return nil, err
	}
	return items[site]{each(list, func(s devices.SiteSummary) site {
		return site{
			SiteID: s.ID, Label: s.Label, Brand: "Myfox", Timezone: s.Timezone,
			ShutterCount: s.Counts[devices.Shutter], SocketCount: s.Counts[devices.Socket],
		}
	})}, nil
}

type security struct {
	Status      int    `json:"status"`
	StatusLabel string `json:"statusLabel"`
}

func (h *Handler) readSecurity(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return nil, err
	}
	level, err := h.service.SecurityLevel(r.Context(), c, siteID)
	if err != nil {
		return nil, err
	}
	return security{level.Code, level.Label}, nil
}

type device struct {
	DeviceID   int64  `json:"deviceId"`
	Label      string `json:"label"`
	ModelID    int    `json:"modelId"`
	ModelLabel string `json:"modelLabel"`
}

func (h *Handler) listDevices(kind devices.Kind) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		list, err := h.service.Devices(r.Context(), c, siteID, kind)
		if err != nil {
			return nil, err
		}
		return items[device]{each(list, func(d devices.Device) device {
			return device{d.ID, d.Label, d.ModelID, d.ModelLabel}
		})}, nil
	}
}

func (h *Handler) operate(row devices.Row) endpoint {
	return func(w http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		order, err := requestFor(row, r)
		if err != nil {
			return nil, err
		}
		command, err := h.service.Execute(r.Context(), c, order)
		if err != nil {
			return nil, err
		}
		w.Header().Set("Foxbridge-Command-Id", command.ID)
		if order.Async {
			w.Header().Set("Preference-Applied", "respond-async")
			if command.Outcome == devices.Pending || command.Outcome == devices.Unknown {
				w.Header().Set("Location", fmt.Sprintf("/v2/site/%d/command/%s", command.SiteID, command.ID))
				return accepted{recordOf(command)}, nil
			}
		}
		if command.Outcome != devices.Done {
			return nil, &outcomeError{command}
		}
		return request{"OK"}, nil
	}
}

func requestFor(row devices.Row, r *http.Request) (devices.Request, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return devices.Request{}, err
	}
	deviceID := devices.SecurityDevice
	if row.Kind != devices.Security {
		if deviceID, err = pathID(r, "device"); err != nil {
			return devices.Request{}, err
		}
	}
	key, err := idempotencyKey(r)
	if err != nil {
		return devices.Request{}, err
	}
	return devices.Request{
		SiteID: siteID, DeviceID: deviceID, Kind: row.Kind, Operation: row.Operation,
		Key: key, Async: prefersAsync(r),
	}, nil
}

func idempotencyKey(r *http.Request) (string, error) {
	keys := r.Header.Values("Idempotency-Key")
	switch {
	case len(keys) == 0:
		return "", nil
	case len(keys) == 1 && keys[0] != "":
		return keys[0], nil
	default:
		return "", &devices.Refusal{Code: devices.BadKey, Text: "Idempotency-Key must be given once and not be empty"}
	}
}

// prefersAsync reports whether Prefer names respond-async (RFC 7240 section 4.1).
func prefersAsync(r *http.Request) bool {
	for _, line := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(preference, ";")
			if strings.EqualFold(strings.TrimSpace(name), "respond-async") {
				return true
			}
		}
	}
	return false
}

// record is a command as its record has it.
type record struct {
	CommandID  string  `json:"commandId"`
	DeviceID   *int64  `json:"deviceId"` // null for the alarm
	Kind       string  `json:"kind"`
	Operation  string  `json:"operation"`
	Outcome    string  `json:"outcome"`
	Reason     string  `json:"reason"`
	AcceptedAt string  `json:"acceptedAt"`
	ExpiresAt  string  `json:"expiresAt"`
	FinishedAt *string `json:"finishedAt"` // null while pending
}

func recordOf(c devices.Command) record {
	out := record{
		CommandID: c.ID, Kind: string(c.Kind), Operation: c.Operation, Outcome: string(c.Outcome), Reason: c.Reason,
		AcceptedAt: c.AcceptedAt.UTC().Format(timeFormat), ExpiresAt: c.ExpiresAt.UTC().Format(timeFormat),
	}
	if c.DeviceID != devices.SecurityDevice {
		out.DeviceID = &c.DeviceID
	}
	if !c.FinishedAt.IsZero() {
		finished := c.FinishedAt.UTC().Format(timeFormat)
		out.FinishedAt = &finished
	}
	return out
}

func (h *Handler) readCommand(w http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return nil, err
	}
	command, err := h.service.Command(r.Context(), c, siteID, mux.Vars(r)["command"])
	if err != nil {
		return nil, err
	}
	w.Header().Set("Foxbridge-Command-Id", command.ID)
	return recordOf(command), nil
}

type entry struct {
	LogID     int64  `json:"logId"`
	Label     string `json:"label"`
	Type      string `json:"type"`
	CreatedAt string `json:"createdAt"`
}

func (h *Handler) readHistory(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return nil, err
	}
	query, err := historyQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list, err := h.service.History(r.Context(), c, siteID, query)
	if err != nil {
		return nil, err
	}
	return items[entry]{each(list, func(e devices.Entry) entry {
		return entry{e.ID, e.Label, string(e.Type), e.CreatedAt.UTC().Format(timeFormat)}
	})}, nil
}

// historyQuery reads the filters of the contract. The newest entry comes first unless
// dateOrder says otherwise: clients show the first one as the latest.
func historyQuery(q url.Values) (devices.HistoryQuery, error) {
	for _, name := range []string{"dateFrom", "dateTo", "dateOrder", "type"} {
		if len(q[name]) > 1 {
			return devices.HistoryQuery{}, badFilter(name + " is given more than once")
		}
	}
	var out devices.HistoryQuery
	var err error
	if out.From, err = date("dateFrom", q.Get("dateFrom")); err != nil {
		return out, err
	}
	if out.To, err = date("dateTo", q.Get("dateTo")); err != nil {
		return out, err
	}
	if !out.To.IsZero() {
		// Answers are cut to the second, so the whole of the last second is meant.
		out.To = out.To.Add(time.Second - time.Microsecond)
	}
	switch q.Get("dateOrder") {
	case "", "-1":
	case "1":
		out.Ascending = true
	default:
		return out, badFilter("dateOrder must be 1 or -1")
	}
	out.Types, err = historyTypes(q.Get("type"))
	return out, err
}

func date(name, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(timeFormat, value)
	if err != nil || len(value) != len(timeFormat) {
		return time.Time{}, badFilter(name + " must have the form YYYY-MM-DDThh:mm:ssZ")
	}
	return t, nil
}

func historyTypes(value string) ([]devices.HistoryType, error) {
	if value == "" {
		return nil, nil
	}
	known := devices.HistoryTypes()
	var chosen []devices.HistoryType
	for name := range strings.SplitSeq(value, ",") {
		kind := devices.HistoryType(strings.TrimSpace(name))
		if !slices.Contains(known, kind) {
			return nil, badFilter("type must be a list of alarm, access, account, config, diagnosis, homeAuto, security, scenario")
		}
		if !slices.Contains(chosen, kind) {
			chosen = append(chosen, kind)
		}
	}
	return chosen, nil
}

func badFilter(text string) *devices.Refusal {
	return &devices.Refusal{Code: devices.BadFilter, Text: text}
}

// pathID reads an id from the path. What is not a positive 64-bit number names
// nothing, so it is answered as an id that is not there.
func pathID(r *http.Request, name string) (int64, error) {
	text := mux.Vars(r)[name]
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 || strconv.FormatInt(id, 10) != text {
		return 0, &devices.Refusal{Code: devices.NoSuch, Text: "Unknown " + name + " ID"}
	}
	return id, nil
}

// each maps a list; an empty one stays an array on the wire.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
