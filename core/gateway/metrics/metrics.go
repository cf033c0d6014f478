// Package metrics counts what a gateway does, for Prometheus. It stands around the parts that it counts: a sink, the router's store, the
// hub. What happens in a unit of work is counted once the unit is committed.
//
// Labels are accounts, networks, peers and fixed words: nothing of people, rooms or messages.
package metrics

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// seconds are the bounds of histograms of times: from a millisecond to ten minutes.
var seconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 600}

// Metrics are those of one gateway.
type Metrics struct {
	registry *prometheus.Registry

	accepted, refused, delivered, degraded, failed *prometheus.CounterVec
	receiving, delivery                            *prometheus.HistogramVec
	updates, submits                               *prometheus.CounterVec
	hub                                            *prometheus.HistogramVec
	requests                                       *prometheus.CounterVec
	answering                                      *prometheus.HistogramVec
	batch, commit                                  prometheus.Histogram
}

// Account is the state of one account.
type Account struct {
	ID, Network, State string
	Works              bool // connected, if only in part
}

// Queue is what waits for one account.
type Queue struct {
	Account, Network string
	Waiting, Dead    int
	Oldest           time.Duration // how long the oldest has waited; 0: none waits
}

// State is how a gateway does at one moment.
type State struct {
	Accounts []Account
	Queues   []Queue
	Rooms    int
	Repeated int64 // messages that were shown again, as nobody could say whether they had arrived
}

// New returns the metrics of a gateway of this version, which now tells its state. now is asked each time they are read.
func New(version string, now func(context.Context) (State, error)) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	m.accepted = m.counter("messages_accepted_total", "Events of a network that were taken, that is, are on disk.", "account", "network")
	m.refused = m.counter("messages_refused_total", "Events of a network that could not be taken, and are offered again.", "account", "network")
	m.delivered = m.counter("messages_delivered_total", "Messages shown in a chat, whole.", "account", "network")
	m.degraded = m.counter("messages_degraded_total", "Messages shown in a chat that cannot show all of them.", "account", "network")
	m.failed = m.counter("messages_failed_total", "Messages that could not be shown in a chat; the sender was told.", "account", "network", "reason")
	m.receiving = m.histogram("receive_seconds", "From when a network reports an event until it is on disk.", "network")
	m.delivery = m.histogram("delivery_seconds", "From when the room has a message until the network has it.", "network")
	m.updates = m.counter("hub_updates_total", "Changes of rooms submitted to our hub: accepted (a new epoch), conflict (somebody else was first), refused.", "outcome")
	m.submits = m.counter("hub_messages_total", "Messages submitted to our hub: accepted, conflict (of an epoch that is over), refused.", "outcome")
	m.hub = m.histogram("hub_seconds", "How long our hub took to answer.", "request")
	m.requests = m.counter("peer_requests_total", "Requests over HTTP from and to other providers.", "peer", "endpoint", "status")
	m.answering = m.histogram("peer_request_seconds", "How long requests over HTTP took.", "peer")
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "mimigate", Name: "store_batch_units",
		Help: "Units of work in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 9)})
	m.commit = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "mimigate", Name: "store_batch_seconds",
		Help: "How long a transaction took, from its begin until it was on disk.", Buckets: seconds})
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "mimigate", Name: "build_info", Help: "1.",
		ConstLabels: prometheus.Labels{"version": version}}, func() float64 { return 1 })
	m.registry.MustRegister(m.batch, m.commit, build, &stateCollector{now}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "mimigate", Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "mimigate", Name: name, Help: help, Buckets: seconds}, labels)
	m.registry.MustRegister(h)
	return h
}

// ServeHTTP answers with the metrics in Prometheus' text format.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, r)
}

// Batch counts a transaction of the store.
func (m *Metrics) Batch(units int, took time.Duration) {
	m.batch.Observe(float64(units))
	m.commit.Observe(took.Seconds())
}

// Request counts a request over HTTP of or to another provider; peer is "" for one that was not recognised.
func (m *Metrics) Request(peer, endpoint string, status int, took time.Duration) {
	m.requests.WithLabelValues(peer, endpoint, strconv.Itoa(status)).Inc()
	m.answering.WithLabelValues(peer).Observe(took.Seconds())
}

// stateCollector reads the state of the gateway when it is asked.
type stateCollector struct {
	now func(context.Context) (State, error)
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mimigate_"+name, help, labels, nil)
}

var (
	accountUp    = desc("account_up", "1 while the account is connected, if only in part.", "account", "network")
	accountState = desc("account_state", "1 for the state that the account is in.", "account", "network", "state")
	queueWaiting = desc("queue_messages", "Messages that wait to be shown.", "account", "network")
	queueOldest  = desc("queue_oldest_seconds", "How long the oldest of them has waited.", "account", "network")
	queueDead    = desc("dead_letters", "Messages that could not be shown in time, or not at all.", "account", "network")
	rooms        = desc("rooms", "Rooms that are configured or bound.")
	repeated     = desc("messages_repeated_total", "Messages shown again, as nobody could say whether they had arrived.")
)

// stateTimeout bounds what a reader waits for the state.
const stateTimeout = 10 * time.Second

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{accountUp, accountState, queueWaiting, queueOldest, queueDead, rooms, repeated} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), stateTimeout)
	defer cancel()
	s, err := c.now(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(rooms, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, a := range s.Accounts {
		up := 0.0
		if a.Works {
			up = 1
		}
		gauge(accountUp, up, a.ID, a.Network)
		gauge(accountState, 1, a.ID, a.Network, a.State)
	}
	for _, q := range s.Queues {
		gauge(queueWaiting, float64(q.Waiting), q.Account, q.Network)
		gauge(queueOldest, q.Oldest.Seconds(), q.Account, q.Network)
		gauge(queueDead, float64(q.Dead), q.Account, q.Network)
	}
	gauge(rooms, float64(s.Rooms))
	to <- prometheus.MustNewConstMetric(repeated, prometheus.CounterValue, float64(s.Repeated))
}
