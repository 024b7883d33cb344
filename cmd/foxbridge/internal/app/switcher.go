package app

import (
	"context"

	"github.com/foxbridge/foxbridge/oauth"
)

// recordSwitcher is the Switcher on a record: what Alertmanager asks for is recorded
// as the monitoring's doing.
type recordSwitcher struct{ *oauth.Service }

// Switch implements Switcher.
func (s recordSwitcher) Switch(ctx context.Context, clientID string, off bool, reason, key string) (changed bool, err error) {
	if off {
		return s.SwitchOff(ctx, clientID, oauth.ByAlert, key, reason)
	}
	return s.Reactivate(ctx, clientID, oauth.ByAlert, key, reason)
}
