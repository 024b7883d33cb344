// Package mqtt carries the protocol hc/1 between the bridge and the HomeControl
// units: its topics, its payloads, and the Link by which a bridge sends orders to
// units and takes in what they report. The device side is in mqtt/unit, a broker that
// runs inside the process in mqtt/broker.
package mqtt

import (
	"errors"
	"strconv"
	"strings"
)

// Leaf is what a topic of hc/1 is for: its segment after the unit.
type Leaf string

// The leaves. Each but Command is published by the unit.
const (
	LeafCommand Leaf = "cmd"   // orders to the unit, never retained
	LeafAck     Leaf = "ack"   // the unit's answers, to the bridge that asked
	LeafState   Leaf = "state" // what the unit says of one device, retained
	LeafEvent   Leaf = "event" // what happened in the house
	LeafLink    Leaf = "link"  // that the unit came or went, retained
)

// Topic is a topic of hc/1.
type Topic struct {
	Unit   string // 16 lower-case hex digits
	Leaf   Leaf
	Bridge string // of LeafAck, else empty: 1 to 32 of a-z, 0-9 and hyphen
	Device int64  // of LeafState, else 0: not negative
}

// prefix begins every topic of the protocol.
const prefix = "hc/1/"

var errTopic = errors.New("not a topic of hc/1")

// ParseTopic reads a topic name. Every Topic has exactly one name: what differs
// from it by a leading zero, an upper-case digit or an empty segment is an error.
// The error does not hold the name.
func ParseTopic(name string) (Topic, error) {
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return Topic{}, errTopic
	}
	unit, rest, _ := strings.Cut(rest, "/")
	leaf, last, more := strings.Cut(rest, "/")
	t := Topic{Unit: unit, Leaf: Leaf(leaf)}
	if !ValidUnit(unit) {
		return Topic{}, errTopic
	}
	switch t.Leaf {
	case LeafCommand, LeafEvent, LeafLink:
		if more {
			return Topic{}, errTopic
		}
	case LeafAck:
		if !ValidBridge(last) {
			return Topic{}, errTopic
		}
		t.Bridge = last
	case LeafState:
		device, err := strconv.ParseInt(last, 10, 64)
		if err != nil || device < 0 || strconv.FormatInt(device, 10) != last {
			return Topic{}, errTopic
		}
		t.Device = device
	default:
		return Topic{}, errTopic
	}
	return t, nil
}

// String gives the topic's name.
func (t Topic) String() string {
	name := prefix + t.Unit + "/" + string(t.Leaf)
	switch t.Leaf {
	case LeafAck:
		return name + "/" + t.Bridge
	case LeafState:
		return name + "/" + strconv.FormatInt(t.Device, 10)
	default:
		return name
	}
}

// Retained reports whether the unit publishes it retained.
func (t Topic) Retained() bool { return t.Leaf == LeafState || t.Leaf == LeafLink }

// ValidUnit reports whether id can be a unit's: 16 lower-case hex digits.
func ValidUnit(id string) bool {
	return len(id) == 16 && consistsOf(id, func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'f'
	})
}

// ValidBridge reports whether name can be a bridge's: 1 to 32 of a-z, 0-9 and hyphen.
func ValidBridge(name string) bool {
	return 1 <= len(name) && len(name) <= 32 && consistsOf(name, func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-'
	})
}

func consistsOf(s string, in func(byte) bool) bool {
	for i := range len(s) {
		if !in(s[i]) {
			return false
		}
	}
	return true
}

// answerFilter is what a bridge subscribes to for the answers to its own orders.
func answerFilter(bridge string) string { return prefix + "+/ack/" + bridge }

// reportFilters are what a bridge subscribes to for what the units report to all bridges.
func reportFilters() []string {
	return []string{prefix + "+/state/+", prefix + "+/event", prefix + "+/link"}
}
