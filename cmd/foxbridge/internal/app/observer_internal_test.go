package app

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/metrics"
	"github.com/foxbridge/foxbridge/oauth"
)

// Whoever tries a policy as a shadow looks at one mode for all that it says.
func TestVerdictsOfAShadowAreCountedAsSuch(t *testing.T) {
	t.Parallel()
	for mode, last := range map[string]oauth.Verdict{"shadow": oauth.VerdictShadow, "enforced": oauth.VerdictSwitchOff} {
		registry := prometheus.NewRegistry()
		m, err := metrics.New(registry, metrics.Options{})
		require.NoError(t, err)
		o := authorizationObserver{m, mode == "shadow", slog.New(slog.DiscardHandler)}
		for _, v := range []oauth.Verdict{oauth.VerdictNotice, oauth.VerdictWarning, last} {
			o.Judged("c", string(v), string(oauth.RuleHour))
		}
		require.NoError(t, testutil.GatherAndCompare(registry, strings.NewReader(strings.ReplaceAll(`
# HELP foxbridge_issuance_verdicts_total Verdicts of the issuance policy other than fine, by kind of application and the rule that came nearest; mode is shadow if they changed no answer.
# TYPE foxbridge_issuance_verdicts_total counter
foxbridge_issuance_verdicts_total{kind="personal",mode="MODE",rule="hour",verdict="notice"} 1
foxbridge_issuance_verdicts_total{kind="personal",mode="MODE",rule="hour",verdict="switch_off"} 1
foxbridge_issuance_verdicts_total{kind="personal",mode="MODE",rule="hour",verdict="warning"} 1
`, "MODE", mode)), "foxbridge_issuance_verdicts_total"), mode)
	}
}
