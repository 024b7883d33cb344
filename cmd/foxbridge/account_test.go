package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// An administrator gives somebody another password: the one before, and what was got
// with it, are good for nothing any more.
func TestPasswordThatAnAdministratorSets(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		token := e.token(t, bridge)
		v := newVisitor(t)
		v.open(t, "http://"+bridge.HTTP+"/security")
		v.signIn(t, e)
		require.Equal(t, "/security", v.at.Path)

		args := append([]string{"user", "passwd", e.username, "--password-stdin"}, record...)
		code, stdout, stderr := execute(t, "a new password\n", args...)
		require.Equal(t, exitOK, code, stderr)
		require.NotContains(t, stdout, "a new password")
		v.open(t, "http://"+bridge.HTTP+"/security")
		require.Equal(t, "/signin", v.at.Path, "signed out")
		form := url.Values{"grant_type": {"password"}, "username": {e.username}, "password": {e.password}}
		status, _ := asClient(t, "http://"+bridge.HTTP+"/oauth2/token", e.app, form)
		require.Equal(t, http.StatusBadRequest, status)
		status, _ = authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token)
		require.Equal(t, http.StatusOK, status, "tokens live on")
		e.password = "a new password"
		require.NotEmpty(t, e.token(t, bridge))

		var changed user
		e.run(t, &changed, "user", "passwd", e.username, "--end-tokens")
		require.GreaterOrEqual(t, len(changed.Password), 20, "made up, and shown this once")
		status, _ = authorized(t, bridge, http.MethodGet, "/v2/client/site/items", token)
		require.Equal(t, http.StatusUnauthorized, status)
		require.Equal(t, exitOK, bridge.stop(t))
	})
}

func TestOperatorsAreMadeByCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operator := func(args ...string) bool {
		code, stdout, stderr := execute(t, "", append(args, "--data-dir", dir, "--json")...)
		require.Equal(t, exitOK, code, stderr)
		var u user
		require.NoError(t, json.Unmarshal([]byte(stdout), &u))
		return u.Operator
	}
	require.False(t, operator("user", "add", "a@example.com", "--name", "A"))
	require.True(t, operator("user", "operator", "a@example.com"))
	require.True(t, operator("user", "operator", "a@example.com"), "again")
	require.False(t, operator("user", "operator", "a@example.com", "--revoke"))
}

// A unit's password is replaced: it is cut off, and comes back only with the new one.
func TestUnitWhosePasswordIsReplaced(t *testing.T) {
	t.Parallel()
	onEachStore(t, func(t *testing.T, record []string, data string) {
		e := newEstate(t, record, data, "socket:Lamp")
		bridge := e.serve(t)
		token := e.token(t, bridge)
		e.live(t, bridge, token)
		online := func() bool {
			var units []unit
			e.run(t, &units, "unit", "list")
			return units[0].Online
		}
		bridge.eventually(t, "aware that the unit is online", online)
		var replaced newUnit
		e.run(t, &replaced, "unit", "secret", e.box.UnitID, "--reset")
		require.Equal(t, e.box.UnitID, replaced.UnitID)
		require.NotEqual(t, e.box.Password, replaced.Password)
		bridge.eventually(t, "rid of the unit", func() bool { return !online() })
		e.box.Password = replaced.Password
		e.live(t, bridge, token)
		bridge.eventually(t, "aware of the unit again", online)
	})
}
