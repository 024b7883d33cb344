package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A unit is played by hand with the stock MQTT clients. It sees its own commands and
// nothing of another unit's.
func TestStockMQTTClientSeesItsOwnCommandsOnly(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	e := newEstate(t, []string{"--data-dir", data}, data, "socket:Lamp")
	_, neighbour := e.addHome(t, "Next door", "socket:Lamp")
	bridge := e.serve(t)
	token := e.token(t, bridge)
	publish := func(topic, payload string, retain ...string) {
		t.Helper()
		c := mosquitto(t, "pub", bridge, e.box.UnitID, e.box.Password, append([]string{"-t", "hc/1/" + e.box.UnitID + topic, "-m", payload}, retain...)...)
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}

	sub := mosquitto(t, "sub", bridge, e.box.UnitID, e.box.Password, "-d", "-t", "hc/1/"+e.box.UnitID+"/cmd", "-C", "1", "-W", "30", "-F", "command %p")
	output, err := sub.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, sub.Start())
	lines := bufio.NewScanner(output)
	until := func(prefix string) string {
		t.Helper()
		for lines.Scan() {
			if bytes.HasPrefix(lines.Bytes(), []byte(prefix)) {
				return lines.Text()[len(prefix):]
			}
		}
		t.Fatalf("mosquitto_sub never printed %q", prefix)
		return ""
	}
	until("Subscribed")

	// An MQTT client that speaks for the unit says that it is there.
	publish("/link", fmt.Sprintf(`{"status":"online","session":"0123456789abcdef0123456789abcdef","clock":%d,"firmware":"by hand","catalogue":1}`, time.Now().UnixMilli()))
	bridge.eventually(t, "aware of the unit", func() bool {
		var units []unit
		e.run(t, &units, "unit", "list")
		return len(units) == 2 && (units[0].Online || units[1].Online)
	})
	socket := e.path(fmt.Sprintf("/device/%d/socket/on", e.box.Devices[0].DeviceID))
	answer := make(chan string, 1)
	go func() {
		status, body := authorized(t, bridge, http.MethodPost, socket, token)
		answer <- fmt.Sprint(status, " ", body)
	}()
	var command struct {
		ID        string `json:"id"`
		Device    int64  `json:"device"`
		Operation string `json:"operation"`
		Expires   int64  `json:"expires"`
		Reply     string `json:"reply"`
	}
	require.NoError(t, json.Unmarshal([]byte(until("command ")), &command))
	require.NoError(t, sub.Wait())
	require.Equal(t, e.box.Devices[0].DeviceID, command.Device)
	require.Equal(t, "on", command.Operation)
	require.Greater(t, command.Expires, time.Now().UnixMilli())

	reply := command.Reply[len("hc/1/"+e.box.UnitID):]
	publish(reply, fmt.Sprintf(`{"id":%q,"outcome":"done","time":%d,"state":{"sequence":1,"time":%d,"readings":{"on":true}}}`, command.ID, time.Now().UnixMilli(), time.Now().UnixMilli()))
	require.Contains(t, <-answer, "200 ", "the answer says what the unit did")

	refused := func(unit, password, topic, says string) {
		t.Helper()
		c := mosquitto(t, "sub", bridge, unit, password, "-t", topic, "-C", "1", "-W", "5")
		out, err := c.CombinedOutput()
		require.Contains(t, string(out), says, "%s may not read %s: %v", unit, topic, err)
	}
	for _, topic := range []string{"hc/1/" + neighbour.UnitID + "/cmd", "hc/1/" + neighbour.UnitID + "/#", "#", "+/+/+/cmd", "hc/1/+/cmd", "hc/#", "$SYS/#", "$share/g/hc/1/+/cmd"} {
		refused(e.box.UnitID, e.box.Password, topic, "denied")
	}
	for _, password := range []string{"wrong", "", neighbour.Password} {
		refused(e.box.UnitID, password, "hc/1/"+e.box.UnitID+"/cmd", "Connection Refused")
	}
	refused("nobody", e.box.Password, "hc/1/"+e.box.UnitID+"/cmd", "Connection Refused")

	// Nor may it speak for the other.
	forged := mosquitto(t, "pub", bridge, e.box.UnitID, e.box.Password, "-t", "hc/1/"+neighbour.UnitID+"/link",
		"-m", fmt.Sprintf(`{"status":"online","session":"0123456789abcdef0123456789abcdef","clock":%d}`, time.Now().UnixMilli()))
	_ = forged.Run() // whether the client notices is not the point
	will := mosquitto(t, "sub", bridge, e.box.UnitID, e.box.Password, "-t", "hc/1/"+e.box.UnitID+"/cmd", "-W", "3",
		"--will-topic", "hc/1/"+neighbour.UnitID+"/link", "--will-payload", "{}")
	require.Error(t, will.Run(), "a last will for another unit is refused")
	var units []unit
	e.run(t, &units, "unit", "list")
	for _, u := range units {
		require.Equal(t, u.UnitID == e.box.UnitID, u.Online, "%s", u.UnitID)
	}
}
