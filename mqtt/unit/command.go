package unit

import (
	"bytes"
	"context"
	"errors"
	"unicode/utf8"

	"github.com/foxbridge/foxbridge/devices"
	"github.com/foxbridge/foxbridge/mqtt"
	"github.com/foxbridge/foxbridge/mqtt/internal/wire"
)

// receive takes a command. It runs on the connection's own goroutine and does not
// wait for the command.
func (u *Unit) receive(m wire.Message) {
	c, err := mqtt.DecodeCommand(m.Payload)
	if err != nil {
		u.c.Logger.Warn("command not understood", "unit", u.c.Unit, "err", err)
		return
	}
	if reply, err := mqtt.ParseTopic(c.Reply); err != nil || reply.Unit != u.c.Unit {
		u.c.Logger.Warn("command wants its answer on another unit's topic", "unit", u.c.Unit)
		return
	}
	now := u.c.Clock()
	standing, payload := u.answers.take(c.CommandID, c.Reply, c.Expires.Sub(now))
	switch {
	case standing == answered:
		u.outbox.put(answerItem(c.Reply, payload))
	case standing == pending:
	case now.After(c.Expires):
		u.answers.drop(c.CommandID)
		u.c.Logger.Warn("expired command dropped", "unit", u.c.Unit, "command_id", c.CommandID, "late", now.Sub(c.Expires))
	case standing == full:
		u.c.Logger.Error("no room to remember a command", "unit", u.c.Unit, "command_id", c.CommandID)
		u.send(u.answerTo(c, refusedAs("The unit is busy")), c.Reply)
	default:
		u.dispatch(c)
	}
}

// dispatch puts a command into its device's lane, or refuses it.
func (u *Unit) dispatch(c mqtt.Command) {
	if reason := u.impossible(c); reason != "" {
		u.answer(c, refusedAs(reason))
		return
	}
	if !u.lanes.put(c.DeviceID, func(ctx context.Context) { u.execute(ctx, c) }) {
		u.answer(c, refusedAs("The unit is busy"))
	}
}

// impossible says why the unit has no way to execute a command, or nothing.
func (u *Unit) impossible(c mqtt.Command) string {
	kind, there := u.kindOf(c.DeviceID)
	if !there || kind != c.Kind {
		return "The unit has no such device"
	}
	if _, known := u.known[operation{c.Kind, c.Operation}]; !known {
		return "The unit does not know this operation"
	}
	if len(bytes.Trim(c.Arguments, "{} \t\r\n")) > 0 {
		return "The unit does not know these arguments"
	}
	return ""
}

// execute carries out a command whose turn has come, unless it expired waiting.
func (u *Unit) execute(ctx context.Context, c mqtt.Command) {
	if now := u.c.Clock(); now.After(c.Expires) {
		u.answers.drop(c.CommandID)
		u.c.Logger.Warn("expired command dropped", "unit", u.c.Unit, "command_id", c.CommandID, "late", now.Sub(c.Expires))
		return
	}
	err := u.c.Handler.Execute(ctx, c)
	if err == nil {
		u.answer(c, devices.Ack{Outcome: devices.Done})
		return
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		u.answer(c, refusedAs(refusal.Reason))
		return
	}
	u.c.Logger.Error("command failed", "unit", u.c.Unit, "command_id", c.CommandID, "err", err)
	u.answer(c, refusedAs("The unit could not do it"))
}

// answer remembers an answer and sends it to all who asked. With what was done goes
// the device's state.
func (u *Unit) answer(c mqtt.Command, a devices.Ack) {
	if a.Outcome == devices.Done {
		a.State = u.report(c.DeviceID)
	}
	payload := u.answerTo(c, a)
	u.send(payload, u.answers.answer(c.CommandID, payload)...)
	if a.State != nil {
		u.outbox.put(u.state(*a.State)...)
	}
}

// answerTo writes an answer.
func (u *Unit) answerTo(c mqtt.Command, a devices.Ack) []byte {
	a.CommandID = c.CommandID
	payload, err := mqtt.EncodeAck(mqtt.Ack{Ack: a, Time: u.c.Clock()})
	if err == nil {
		return payload
	}
	// The Handler's readings or its reason cannot be told. The outcome can.
	u.c.Logger.Error("answer cannot be told in full", "unit", u.c.Unit, "command_id", c.CommandID, "err", err)
	payload, err = mqtt.EncodeAck(mqtt.Ack{Ack: devices.Ack{CommandID: c.CommandID, Outcome: a.Outcome}, Time: u.c.Clock()})
	if err != nil {
		u.c.Logger.Error("answer cannot be told", "unit", u.c.Unit, "command_id", c.CommandID, "err", err)
	}
	return payload
}

func (u *Unit) send(payload []byte, replies ...string) {
	if payload == nil {
		return
	}
	for _, reply := range replies {
		u.outbox.put(answerItem(reply, payload))
	}
}

func answerItem(reply string, payload []byte) item {
	return item{Message: wire.Message{Topic: reply, Payload: payload}, lasting: true}
}

// refusedAs makes an answer whose reason is cut to what is kept of it.
func refusedAs(reason string) devices.Ack {
	const most = 200
	for len(reason) > most {
		_, size := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-size]
	}
	return devices.Ack{Outcome: devices.Refused, Reason: reason}
}
