package demoapp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/oauth2"
)

// api is Foxbridge's API.
type api struct {
	base string
	http *http.Client
}

// problem is an answer that is not OK.
type problem struct {
	Status      int
	Code        string
	Description string
}

// Error gives the description, which is a sentence for people.
func (p *problem) Error() string { return p.Description }

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// do makes a request and decodes the payload of its answer. An answer that is not OK is
// a *problem.
func (a api) do(ctx context.Context, token *oauth2.Token, method, path string, payload any) error {
	r, err := http.NewRequestWithContext(ctx, method, a.base+path, nil) // #nosec G704 -- what people send is in no path but for numbers
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	token.SetAuthHeader(r)
	response, err := a.http.Do(r) // #nosec G704 -- as above
	if err != nil {
		return &problem{Description: "Foxbridge cannot be reached."}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return &problem{Description: "Foxbridge's answer broke off."}
	}
	envelope := struct {
		Status      string `json:"status"`
		Code        string `json:"error"`
		Description string `json:"error_description"`
		Payload     any    `json:"payload"`
	}{Payload: payload}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return &problem{Status: response.StatusCode, Description: "Foxbridge's answer cannot be read."}
	}
	if envelope.Status != "OK" {
		return &problem{response.StatusCode, envelope.Code, envelope.Description + "."}
	}
	return nil
}

type list[T any] struct {
	Items []T `json:"items"`
}

func (a api) sites(ctx context.Context, t *oauth2.Token) ([]site, error) {
	var sites list[site]
	err := a.do(ctx, t, http.MethodGet, "/client/site/items", &sites)
	return sites.Items, err
}

func (a api) alarm(ctx context.Context, t *oauth2.Token, siteID int64) (level string, err error) {
	var security struct {
		Label string `json:"statusLabel"`
	}
	err = a.do(ctx, t, http.MethodGet, fmt.Sprintf("/site/%d/security", siteID), &security)
	return security.Label, err
}

func (a api) devices(ctx context.Context, t *oauth2.Token, siteID, kind string) ([]device, error) {
	var devices list[device]
	err := a.do(ctx, t, http.MethodGet, fmt.Sprintf("/site/%s/device/%s/items", siteID, kind), &devices)
	return devices.Items, err
}

// site is a home. Its fields below the label are not of the list of homes.
type site struct {
	ID    int64  `json:"siteId"`
	Label string `json:"label"`

	Alarm   *alarm  `json:"-"` // nil: the application may not see it
	Groups  []group `json:"-"`
	Trouble string  `json:"-"` // why something is not shown
}

type device struct {
	ID    int64  `json:"deviceId"`
	Label string `json:"label"`
}
