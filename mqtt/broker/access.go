package broker

import (
	"strings"

	"github.com/foxbridge/foxbridge/mqtt"
)

// prefix begins every topic that exists here.
const prefix = "hc/1/"

// mayPublish reports whether a unit may publish on a topic: its own ones but for the
// orders to it.
func mayPublish(unit, name string) (mqtt.Topic, bool) {
	topic, err := mqtt.ParseTopic(name)
	return topic, err == nil && topic.Unit == unit && topic.Leaf != mqtt.LeafCommand
}

// maySubscribe reports whether a unit may subscribe to a filter: its own orders, by
// name or by a wildcard that stands for nothing above the unit. The filter itself is
// compared, so nothing that merely could match is let through.
func maySubscribe(unit, filter string) bool {
	own, ok := strings.CutPrefix(filter, prefix+unit+"/")
	return ok && unit != "" && (own == string(mqtt.LeafCommand) || own == "#" || own == "+")
}

// matches reports whether a topic name matches a filter (MQTT 3.1.1 section 4.7).
func matches(filter, name string) bool {
	for {
		level, restFilter, moreFilter := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		segment, restName, moreName := strings.Cut(name, "/")
		switch {
		case level != "+" && level != segment:
			return false
		case !moreName:
			return !moreFilter || restFilter == "#" // the parent level matches as well
		case !moreFilter:
			return false
		}
		filter, name = restFilter, restName
	}
}
