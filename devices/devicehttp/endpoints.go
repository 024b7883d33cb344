package devicehttp

import (
	"fmt"
	"math"
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

// listSites has every key that some client reads; counts are never null.
func (h *Handler) listSites(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	list, err := h.service.Sites(r.Context(), c)
	if err != nil {
		return nil, err
	}
	return itemsOf(list, func(s devices.SiteSummary) object {
		out := object{
			{"siteId", s.ID}, {"label", s.Label}, {"brand", "Myfox"}, {"timezone", s.Timezone}, {"AXA", nil},
		}
		for _, row := range h.counts {
			n := s.Counts[devices.Scene]
			if row.Action == devices.ListDevices {
				n = 0
				for _, kind := range row.Kinds() {
					n += s.Counts[kind]
				}
			}
			out = append(out, member{row.Count, n})
		}
		return append(out, member{"arcsoftToken", nil}, member{"buzzSiteId", nil})
	}), nil
}

// security is the contract's, and more: whether the alarm sounds, and until when people may
// leave or must have disarmed it.
type security struct {
	Status          int     `json:"status"`
	StatusLabel     string  `json:"statusLabel"`
	Alarm           string  `json:"alarm"`
	ExitDelayUntil  *string `json:"exitDelayUntil"`
	EntryDelayUntil *string `json:"entryDelayUntil"`
}

func (h *Handler) readSecurity(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return nil, err
	}
	alarm, err := h.service.Alarm(r.Context(), c, siteID)
	if err != nil {
		return nil, err
	}
	out := security{
		Status: alarm.Level.Code, StatusLabel: alarm.Level.Label, Alarm: "quiet",
		ExitDelayUntil: dateOrNull(alarm.ExitUntil), EntryDelayUntil: dateOrNull(alarm.EntryUntil),
	}
	if alarm.Ringing {
		out.Alarm = "ringing"
	}
	return out, nil
}

func wireDate(t time.Time) string { return t.UTC().Format(timeFormat) }

// dateOrNull gives null for the zero time.
func dateOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := wireDate(t)
	return &text
}

// deviceOf is a device as every list has it.
func deviceOf(d devices.Device) object {
	return append(make(object, 0, 8), member{"deviceId", d.ID}, member{"label", d.Label}, member{"modelId", d.ModelID}, member{"modelLabel", d.ModelLabel})
}

// item is a device as the list of a row has it.
type item struct {
	h   *Handler
	row *devices.Row
	*devices.Reported
}

func (i *item) appendJSON(b []byte) (_ []byte, err error) {
	b = strconv.AppendInt(append(b, `{"deviceId":`...), i.ID, 10)
	if b, err = appendText(append(b, `,"label":`...), i.Label); err != nil {
		return nil, err
	}
	b = strconv.AppendInt(append(b, `,"modelId":`...), int64(i.ModelID), 10)
	if b, err = appendText(append(b, `,"modelLabel":`...), i.ModelLabel); err != nil {
		return nil, err
	}
	for _, m := range i.h.fields(nil, *i.row, *i.Reported) {
		b = append(append(append(b, `,"`...), m.key...), '"', ':')
		if b, err = appendValue(b, m.value); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// fields appends what a row says of a device besides that it is one.
func (h *Handler) fields(out object, row devices.Row, d devices.Reported) object {
	if len(row.Fields) == 0 {
		return out
	}
	values, at := d.Values(h.things[d.Kind], row.Fields)
	for _, f := range row.Fields {
		value := values[f.Reading]
		if value == nil {
			value = f.Else
		}
		out = append(out, member{f.Key, value})
		if f.At != "" {
			out = append(out, member{f.At, wireDate(at[f.Reading])})
		}
	}
	return out
}

func (h *Handler) listDevices(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		list, err := h.service.Devices(r.Context(), c, row, siteID)
		if err != nil {
			return nil, err
		}
		all := items[*item]{make([]*item, len(list))}
		for i := range list {
			all.Items[i] = &item{h, &row, &list[i]}
		}
		return all, nil
	}
}

// listEverything is the one list in snake case: a client joins it with the others.
func (h *Handler) listEverything(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		list, err := h.service.Devices(r.Context(), c, row, siteID)
		if err != nil {
			return nil, err
		}
		all := items[*snake]{make([]*snake, len(list))}
		for i := range list {
			all.Items[i] = (*snake)(&list[i].Device)
		}
		return all, nil
	}
}

// snake is a device in snake case.
type snake devices.Device

func (d *snake) appendJSON(b []byte) (_ []byte, err error) {
	b = strconv.AppendInt(append(b, `{"device_id":`...), d.ID, 10)
	if b, err = appendText(append(b, `,"label":`...), d.Label); err != nil {
		return nil, err
	}
	if b, err = appendText(append(b, `,"device_definition":{"device_definition_label":`...), d.ModelLabel); err != nil {
		return nil, err
	}
	b = append(b, `},"settings":{"global":{}},"created_at":"`...)
	return append(d.CreatedAt.UTC().AppendFormat(b, timeFormat), `"}`...), nil
}

func (h *Handler) readDevice(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, deviceID, err := pathIDs(r, "device")
		if err != nil {
			return nil, err
		}
		reported, err := h.service.Device(r.Context(), c, row, siteID, deviceID)
		if err != nil {
			return nil, err
		}
		return h.fields(object{{"deviceId", reported.ID}}, row, reported), nil
	}
}

func (h *Handler) readMeasurements(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, deviceID, err := pathIDs(r, "device")
		if err != nil {
			return nil, err
		}
		span, err := spanOf(row, r.URL.Query())
		if err != nil {
			return nil, err
		}
		list, err := h.service.Measurements(r.Context(), c, row, siteID, deviceID, devices.MeasurementQuery(span))
		if err != nil {
			return nil, err
		}
		return itemsOf(list, func(m devices.Measurement) object {
			return object{{"deviceId", deviceID}, {row.Fields[0].Key, rounded(m.Value)}, {"recordedAt", wireDate(m.At)}}
		}), nil
	}
}

// rounded gives a value with two decimals at the most: a mean has any number of them.
func rounded(v float64) float64 { return math.Round(v*100) / 100 }

func (h *Handler) listGroups(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		list, err := h.service.Groups(r.Context(), c, row, siteID)
		if err != nil {
			return nil, err
		}
		return itemsOf(list, func(g devices.Group) object {
			return object{{"groupId", g.ID}, {"label", g.Label}, {"type", row.Group}, {"devices", each(g.Devices, deviceOf)}}
		}), nil
	}
}

func (h *Handler) operateGroup(row devices.Row) endpoint {
	return func(w http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		order, err := togetherRequest(r, "group")
		if err != nil {
			return nil, err
		}
		parts, err := h.service.ExecuteGroup(r.Context(), c, row, order)
		return answerTogether(w, order, parts, err)
	}
}

func (h *Handler) listScenarios(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	siteID, err := pathID(r, "site")
	if err != nil {
		return nil, err
	}
	list, err := h.service.Scenarios(r.Context(), c, siteID)
	if err != nil {
		return nil, err
	}
	return itemsOf(list, func(s devices.Scenario) object {
		out := object{{"scenarioId", s.ID}, {"label", s.Label}, {"typeLabel", string(s.Type)}, {"enabled", nil}}
		if s.Type != devices.OnDemand {
			out[3].value = s.Enabled
		}
		return out
	}), nil
}

func (h *Handler) playScenario(w http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	order, err := togetherRequest(r, "scenario")
	if err != nil {
		return nil, err
	}
	parts, err := h.service.PlayScenario(r.Context(), c, order)
	return answerTogether(w, order, parts, err)
}

func (h *Handler) switchScenario(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, scenarioID, err := pathIDs(r, "scenario")
		if err != nil {
			return nil, err
		}
		if err := h.service.SwitchScenario(r.Context(), c, row, siteID, scenarioID); err != nil {
			return nil, err
		}
		return request{"OK"}, nil
	}
}

func togetherRequest(r *http.Request, of string) (devices.TogetherRequest, error) {
	siteID, id, err := pathIDs(r, of)
	if err != nil {
		return devices.TogetherRequest{}, err
	}
	key, err := idempotencyKey(r)
	return devices.TogetherRequest{SiteID: siteID, ID: id, Key: key, Async: prefersAsync(r)}, err
}

// answerTogether is OK only if all that was asked for was done.
func answerTogether(w http.ResponseWriter, order devices.TogetherRequest, parts []devices.Part, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	open := false
	for _, p := range parts {
		if p.Err == nil {
			w.Header().Add("Foxbridge-Command-Id", p.Command.ID)
			open = open || !p.Command.Outcome.Settled()
		}
	}
	failed := slices.ContainsFunc(parts, func(p devices.Part) bool { return p.Err != nil || p.Command.Outcome.Settled() && !p.Done() })
	if order.Async {
		w.Header().Set("Preference-Applied", "respond-async")
		if open && !failed {
			return accepted{itemsOf(parts, func(p devices.Part) record { return recordOf(p.Command) })}, nil
		}
	}
	if failed || open {
		return nil, &partsError{parts}
	}
	return request{"OK"}, nil
}

// empty answers for what there is nothing of at any site yet.
func (h *Handler) empty(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		return items[object]{[]object{}}, h.service.Empty(r.Context(), c, row, siteID)
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
		AcceptedAt: wireDate(c.AcceptedAt), ExpiresAt: wireDate(c.ExpiresAt), FinishedAt: dateOrNull(c.FinishedAt),
	}
	if c.DeviceID != devices.SecurityDevice {
		out.DeviceID = &c.DeviceID
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

func (h *Handler) readHistory(row devices.Row) endpoint {
	return func(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
		siteID, err := pathID(r, "site")
		if err != nil {
			return nil, err
		}
		query, err := historyQuery(row, r.URL.Query())
		if err != nil {
			return nil, err
		}
		list, err := h.service.History(r.Context(), c, siteID, query)
		if err != nil {
			return nil, err
		}
		return itemsOf(list, func(e devices.Entry) entry {
			return entry{e.ID, e.Label, string(e.Type), wireDate(e.CreatedAt)}
		}), nil
	}
}

func historyQuery(row devices.Row, q url.Values) (devices.HistoryQuery, error) {
	span, err := spanOf(row, q)
	if err != nil || row.Legacy {
		return devices.HistoryQuery{}, err
	}
	if err := once(q, "type"); err != nil {
		return devices.HistoryQuery{}, err
	}
	types, err := historyTypes(q.Get("type"))
	return devices.HistoryQuery{From: span.From, To: span.To, Types: types, Ascending: span.Ascending}, err
}

// span is a part of what happened, as the dates of a query choose it.
type span struct {
	From, To  time.Time
	Ascending bool
}

// spanOf reads the dates of the contract. The newest comes first unless dateOrder says
// otherwise: clients show the first one as the latest. Legacy rows have no parameters.
func spanOf(row devices.Row, q url.Values) (out span, err error) {
	if row.Legacy {
		return out, nil
	}
	if err := once(q, "dateFrom", "dateTo", "dateOrder"); err != nil {
		return out, err
	}
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
	return out, nil
}

// once checks that no parameter is given more than once.
func once(q url.Values, names ...string) error {
	for _, name := range names {
		if len(q[name]) > 1 {
			return badFilter(name + " is given more than once")
		}
	}
	return nil
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

// pathIDs reads the site's id and that of a thing at it.
func pathIDs(r *http.Request, name string) (siteID, id int64, err error) {
	if siteID, err = pathID(r, "site"); err != nil {
		return 0, 0, err
	}
	id, err = pathID(r, name)
	return siteID, id, err
}

// itemsOf makes the payload of a list.
func itemsOf[T, U any](list []T, f func(T) U) items[U] { return items[U]{each(list, f)} }

// each maps a list; an empty one stays an array on the wire.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
