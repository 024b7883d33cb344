package mqtttest_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/mqtttest"
)

// TestMosquitto runs the suite on the mosquitto of this machine with the
// configuration that is shipped for it.
func TestMosquitto(t *testing.T) {
	t.Parallel()
	program := findMosquitto(t)
	mqtttest.Run(t, func(t *testing.T) mqtttest.Broker { return mosquitto(t, program, 3) })
}

func findMosquitto(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatal("mosquitto is not installed, and CI is set")
	}
	t.Skip("mosquitto is not installed: NOT TESTED against it")
	return ""
}

// mosquitto starts one from deployments/mosquitto, with ports and files of its own.
func mosquitto(t testing.TB, program string, units int) mqtttest.Broker {
	t.Helper()
	known := credentials(units)
	var passwords strings.Builder
	for _, c := range known {
		fmt.Fprintf(&passwords, "%s:%s\n", c.Unit, c.Password)
	}
	dir := t.TempDir()
	passwordFile(t, filepath.Join(dir, "units.passwd"), passwords.String())
	passwordFile(t, filepath.Join(dir, "bridges.passwd"), "bridge-one:password of the bridge\n")
	shipped, err := filepath.Abs("../../deployments/mosquitto")
	require.NoError(t, err)

	address, unitPort, bridgePort := freeAddress(t)
	config, err := os.ReadFile(filepath.Join(shipped, "mosquitto.conf"))
	require.NoError(t, err)
	config = replace(t, config,
		"listener 1883", fmt.Sprintf("listener %d %s", unitPort, address),
		"listener 1884", fmt.Sprintf("listener %d %s", bridgePort, address),
		"/etc/mosquitto/foxbridge/units.passwd", filepath.Join(dir, "units.passwd"),
		"/etc/mosquitto/foxbridge/bridges.passwd", filepath.Join(dir, "bridges.passwd"),
		"/etc/mosquitto/foxbridge/units.acl", filepath.Join(shipped, "units.acl"),
		"/etc/mosquitto/foxbridge/bridges.acl", filepath.Join(shipped, "bridges.acl"),
	)
	if os.Getuid() == 0 {
		config = append([]byte("user root\n"), config...) // else it may not read the files of this test
	}
	path := filepath.Join(dir, "mosquitto.conf")
	require.NoError(t, os.WriteFile(path, config, 0o600))

	var output bytes.Buffer
	command := exec.Command(program, "-c", path)
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		require.NoError(t, command.Process.Signal(syscall.SIGTERM))
		_ = command.Wait() // how it ends is not what is tested
		if t.Failed() {
			t.Log(output.String())
		}
	})
	bridge, err := mqtt.Dialer(nil, fmt.Sprintf("tcp://%s:%d", address, bridgePort))
	require.NoError(t, err)
	for _, port := range []int{unitPort, bridgePort} {
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(port)))
			return err == nil && conn.Close() == nil
		}, 10*time.Second, 5*time.Millisecond, "mosquitto does not listen")
	}
	return mqtttest.Broker{
		URL: fmt.Sprintf("tcp://%s:%d", address, unitPort), Bridge: bridge,
		BridgeUsername: "bridge-one", BridgePassword: "password of the bridge",
		Units: known,
		Differences: mqtttest.Differences{
			GrantsForeignFilters: true, SwallowsDeniedPublish: true, AdmitsForeignWill: true, KeepsSessions: true,
		},
	}
}

func passwordFile(t testing.TB, path, plain string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(plain), 0o600))
	output, err := exec.Command("mosquitto_passwd", "-U", path).CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// replace puts each new text in the place of its old one, which must be there once.
func replace(t testing.TB, in []byte, oldNew ...string) []byte {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		require.Equal(t, 1, bytes.Count(in, []byte(oldNew[i])), "%q", oldNew[i])
		in = bytes.Replace(in, []byte(oldNew[i]), []byte(oldNew[i+1]), 1)
	}
	return in
}

// freeAddress gives a loopback address that nobody else will think of, with two
// ports below those that the system gives out.
func freeAddress(t testing.TB) (string, int, int) {
	t.Helper()
	var b [5]byte
	_, err := rand.Read(b[:])
	require.NoError(t, err)
	port := 20000 + 2*(int(b[3])<<8+int(b[4]))%10000
	return fmt.Sprintf("127.%d.%d.%d", 1+b[0]%254, b[1], 1+b[2]%254), port, port + 1
}
