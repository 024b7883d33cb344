package devicehttp

import (
	"net/http"
	"time"

	"github.com/foxbridge/foxbridge/devices"
)

// LimitsPath is where a caller reads how it stands with the limits, below /v2. Any
// live token will do.
const LimitsPath = "/limits"

// Limit is how a caller stands with one limit of the API.
type Limit struct {
	Policy    string // its name
	Quota     int    // requests in a window
	Window    time.Duration
	Remaining int           // requests that may come at once
	Reset     time.Duration // until the whole quota is there again
}

// limitItem is a Limit on the wire, its times in whole seconds, never too few.
type limitItem struct {
	Policy    string `json:"policy"`
	Quota     int    `json:"quota"`
	Window    int64  `json:"window"`
	Remaining int    `json:"remaining"`
	Reset     int64  `json:"reset"`
}

func (h *Handler) listLimits(_ http.ResponseWriter, r *http.Request, c devices.Caller) (any, error) {
	list, err := h.limits(r.Context(), c)
	if err != nil {
		return nil, err
	}
	return items[limitItem]{each(list, func(l Limit) limitItem {
		return limitItem{l.Policy, l.Quota, seconds(l.Window), l.Remaining, seconds(l.Reset)}
	})}, nil
}

// seconds is a time in whole seconds, rounded up.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
