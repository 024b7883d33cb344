package oauthtest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/oauth"
)

func changes() map[string]func(*testing.T, *bench) {
	return map[string]func(*testing.T, *bench){
		"are listed the newest first, page by page, to whom they concern": func(t *testing.T, b *bench) {
			u, other := b.user(), b.user()
			var want []oauth.Change
			for i, action := range []oauth.Action{"first", "second", "third"} {
				c := oauth.Change{
					UserID: u.ID, Action: action, ClientID: "app", Subject: "Küche", ActorID: other.ID, Address: "192.0.2.1",
					At: asStored(start().Add(time.Duration(i) * time.Minute)),
				}
				require.NoError(t, b.Note(t.Context(), c))
				want = append([]oauth.Change{c}, want...)
			}
			require.NoError(t, b.Note(t.Context(), oauth.Change{UserID: other.ID, Action: "foreign", At: start()}))

			got, err := b.Changes(t.Context(), u.ID, 0, 2)
			require.NoError(t, err)
			require.Len(t, got, 2)
			rest, err := b.Changes(t.Context(), u.ID, got[1].ID, 10)
			require.NoError(t, err)
			got = append(got, rest...)
			for i := range got {
				require.Positive(t, got[i].ID)
				got[i].ID = 0
			}
			require.Empty(t, cmp.Diff(want, got))
		},
		"without an action are not noted": func(t *testing.T, b *bench) {
			u := b.user()
			require.NoError(t, b.Note(t.Context(), oauth.Change{UserID: u.ID, At: start()}))
			got, err := b.Changes(t.Context(), u.ID, 0, 10)
			require.NoError(t, err)
			require.Empty(t, got)
		},
		"of an unknown user are not found": func(t *testing.T, b *bench) {
			require.ErrorIs(t, b.Note(t.Context(), oauth.Change{UserID: 4711, Action: "first", At: start()}), oauth.ErrNotFound)
		},
	}
}
