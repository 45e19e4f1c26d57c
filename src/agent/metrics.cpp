// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.hpp"

#include "agent/names.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>
#include <vector>

namespace culvert::agent {
namespace {

void add_named(metrics::Page& page, const char* name, const char* help, const char* label,
               std::span<const CountName> names, const std::vector<std::uint64_t>& values) {
    for (const auto& each : names) {
        metrics::Labels labels{{label, std::string(each.symbol)}};
        if (!each.severity.empty()) {
            labels.emplace_back("severity", each.severity);
        }
        page.counter(name, help, static_cast<double>(values[each.number]), std::move(labels));
    }
}

void add_packets(const datapath::Maps& maps, metrics::Page& page) {
    if (const auto drops = maps.drops()) {
        add_named(page, "culvert_dropped_packets_total", "Packets dropped, by reason.", "reason",
                  drop_names(), *drops);
    }
    if (const auto counters = maps.counters()) {
        add_named(page, "culvert_packets_total", "What moved, by path.", "path", counter_names(),
                  *counters);
    }
}

void add_node(Node& node, metrics::Page& page) {
    const auto number = [](auto value) { return static_cast<double>(value); };
    const NodeStatus status = node.status();
    page.gauge("culvert_flows", "Entries of the flow table.", number(status.flows));
    page.gauge("culvert_flow_limit", "Size of the flow table.", number(status.flow_limit));
    for (std::size_t i = 0; i < status.layouts.size(); ++i) {
        const auto& layout = status.layouts[i];
        page.gauge("culvert_layout_flows", "Flow entries by layout of the kernel maps.",
                   number(layout.flows),
                   {{"layout", fmt::format("{}", layout.version)},
                    {"flow_limit", fmt::format("{}", layout.flow_limit)},
                    {"state", i == 0 ? "active" : "draining"}});
    }
    page.gauge("culvert_flow_quota", "Most flow entries that one interface or one link may hold.",
               number(status.flow_quota));
    page.gauge("culvert_flows_opening", "Flow entries with an unfinished handshake.",
               number(status.charged.opening));
    for (const auto& each : status.interfaces) {
        const metrics::Labels nic{{"nic", each.binding.nic_id}};
        page.gauge("culvert_interface_flows", "Flow entries that connections of an interface hold.",
                   number(each.charged.entries), nic);
        page.gauge("culvert_interface_flows_opening", "Of these, with an unfinished handshake.",
                   number(each.charged.opening), nic);
    }
    page.gauge("culvert_links", "Links this node knows.", status.links);
    page.gauge("culvert_interfaces", "Interfaces of workloads.", number(status.interfaces.size()));
    page.gauge("culvert_intent_version", "Version of the intent in the kernel.",
               number(status.held.version));
    const auto& counts = node.counts();
    page.counter("culvert_deltas_applied_total", "Changes applied.", number(counts.applied.load()));
    page.counter("culvert_deltas_refused_total", "Changes that break a rule.",
                 number(counts.refused.load()));
    page.counter("culvert_deltas_failed_total", "Changes that the kernel did not take.",
                 number(counts.failed.load()));
    page.histogram("culvert_delta_seconds", "From a change's arrival to its being in the kernel.",
                   counts.took.read());
    page.histogram("culvert_move_gap_seconds",
                   "Moves of interfaces to here: from the other node letting go until this one "
                   "carried.",
                   counts.move_gap.read());
    page.counter("culvert_ends_reset_total",
                 "Ends of connections that were idle for too long, or had a NAT address that was "
                 "removed: asked where they are, and reset.",
                 number(counts.reset.load()));
    page.counter("culvert_moved_connections_total", "Connections that came along.",
                 number(counts.moved.load()));
    page.counter("culvert_moved_connections_refused_total",
                 "Connections that this node's intent does not allow.",
                 number(counts.unmoved.load()));
}

void add_stream(const StreamStatus& stream, metrics::Page& page) {
    page.gauge("culvert_stream_connected", "1 while the control plane is connected.",
               stream.connected ? 1 : 0);
    page.counter("culvert_stream_connects_total", "Streams that came up.",
                 static_cast<double>(stream.connects));
    page.counter("culvert_stream_refused_total", "Messages that were no valid change.",
                 static_cast<double>(stream.refused));
}

// One series a peer: labelled by its name, which lives as long as the intent knows it.
void add_reach(const ReachStatus& reach, metrics::Page& page) {
    page.gauge("culvert_isolated", "1 while no peer answers this node at all.",
               reach.isolated ? 1 : 0);
    page.counter("culvert_echoes_sent_total", "Echoes sent to peers and relays.",
                 static_cast<double>(reach.questions));
    page.counter("culvert_echoes_unsent_total", "Echoes that this machine itself refused to send.",
                 static_cast<double>(reach.unsent));
    for (const PeerStatus& peer : reach.peers) {
        const metrics::Labels name{{"peer", peer.name}};
        page.gauge("culvert_peer_up", "1 unless the peer is lost.",
                   peer.view.state == PeerState::kLost ? 0 : 1, name);
        page.gauge("culvert_peer_rtt_seconds", "Round trip of echoes, smoothed.",
                   std::chrono::duration<double>(peer.view.rtt).count(), name);
        page.gauge("culvert_peer_echo_loss_ratio", "Share of echoes not answered of late.",
                   peer.view.loss, name);
        page.counter("culvert_peer_lost_total", "How often the peer was lost.",
                     static_cast<double>(peer.view.losses), name);
    }
}

// One series a backend and probe: labelled by names that live as long as the intent knows them.
void add_health(Node& node, const HealthStatus& health, metrics::Page& page) {
    const auto number = [](auto value) { return static_cast<double>(value); };
    for (const BackendView& view : node.backends()) {
        const bool up = view.state == Health::State::kUp || view.state == Health::State::kUnknown;
        page.gauge("culvert_backend_up",
                   "1 while the backend counts as up, by the probe of the pool.", up ? 1 : 0,
                   {{"pool", view.pool},
                    {"nic", view.nic},
                    {"probe", view.probe ? view.probe->name() : std::string()},
                    {"here", view.here ? "1" : "0"}});
    }
    page.histogram("culvert_probe_seconds", "How long probes of backends here took.", health.took);
    page.counter("culvert_probes_failed_total", "Probes without success.", number(health.failed));
    page.counter("culvert_probes_late_total", "Probes that began late: too many under way.",
                 number(health.late));
    page.counter("culvert_notes_sent_total", "Notes about backends sent to other nodes.",
                 number(health.notes.sent));
    page.counter("culvert_notes_heard_total", "Notes of other nodes that were believed.",
                 number(health.notes.heard));
    page.counter("culvert_notes_refused_total",
                 "Notes and verdicts of other nodes that they had no right or no room for.",
                 number(health.notes.refused));
}

void add_count(metrics::Page& page, const std::string& name, const std::string& what,
               const cv_count& in, const cv_count& out, const metrics::Labels& labels) {
    for (const auto& [direction, count] : {std::pair{"in", &in}, {"out", &out}}) {
        metrics::Labels all = labels;
        all.emplace_back("direction", direction);
        page.counter(name + "_bytes_total", "Bytes of IP packets " + what,
                     static_cast<double>(count->bytes), all);
        page.counter(name + "_packets_total", "Packets " + what,
                     static_cast<double>(count->packets), all);
    }
}

// A series of a link, an interface or a NAT address lives as long as the intent knows it here.
void add_totals(const Reading& reading, metrics::Page& page) {
    static constexpr const char* kOpened = "Connections through a link, by end.";
    static constexpr std::array<const char*, CV_REFUSED_MAX> kWhy{"consent", "backend", "capacity"};
    for (const auto& [id, name] : reading.names.links) {
        const auto found = reading.links.find(id);
        if (found == reading.links.end()) {
            continue;
        }
        const cv_totals& totals = found->second;
        const metrics::Labels link{{"endpoint", name.endpoint}, {"service", name.service}};
        add_count(page, "culvert_endpoint", "through private endpoints of consumers here.",
                  totals.consumer_in, totals.consumer_out, link);
        add_count(page, "culvert_service", "of private link services with backends here.",
                  totals.provider_in, totals.provider_out, link);
        page.counter("culvert_endpoint_connections_total", kOpened,
                     static_cast<double>(totals.consumer_opened), link);
        page.counter("culvert_service_connections_total", kOpened,
                     static_cast<double>(totals.provider_opened), link);
        for (std::size_t why = 0; why < kWhy.size(); ++why) {
            metrics::Labels labels = link;
            labels.emplace_back("why", kWhy[why]);
            page.counter("culvert_refused_connections_total",
                         "Attempts to connect through a link that were refused here.",
                         static_cast<double>(totals.refused[why]), std::move(labels));
        }
    }
    for (const auto& [index, nic] : reading.names.nics) {
        const auto found = reading.nics.find(index);
        if (found == reading.nics.end()) {
            continue;
        }
        const metrics::Labels labels{{"nic", nic.id}};
        add_count(page, "culvert_backend", "to and from backends here.", found->second.provider_in,
                  found->second.provider_out, labels);
        page.counter("culvert_backend_connections_total", "Connections to backends here.",
                     static_cast<double>(found->second.provider_opened), labels);
    }
    for (const NatUsage& nat : reading.nats) {
        const metrics::Labels labels{{"service", nat.service.resource},
                                     {"address", nat.address.str()}};
        page.gauge("culvert_nat_ports_used",
                   "Ports of a NAT address towards the backend here that uses most of them.",
                   nat.used, labels);
        page.gauge("culvert_nat_ports", "Ports of a NAT address for each backend.", kNatPorts,
                   labels);
    }
}

void add_certificate(const RenewalStatus& status, const Clock& clock, metrics::Page& page) {
    page.gauge("culvert_certificate_expiry_seconds", "Until the node's certificate ends.",
               std::chrono::duration<double>(status.until - clock.wall()).count());
    page.counter("culvert_certificate_renewals_total", "Certificates renewed.",
                 static_cast<double>(status.renewed));
    page.counter("culvert_certificate_renewal_failures_total",
                 "Renewals that were refused or could not be stored.",
                 static_cast<double>(status.failures));
}

}  // namespace

void collect(const MetricSources& sources, metrics::Page& page) {
    add_packets(sources.node.maps(), page);
    add_node(sources.node, page);
    add_stream(sources.stream.status(), page);
    add_reach(sources.prober.status(), page);
    add_health(sources.node, sources.health.status(), page);
    add_totals(sources.meter.read(), page);
    add_certificate(sources.renewal.status(), sources.clock, page);
    for (const auto& [level, count] :
         {std::pair{"warn", &sources.log.warnings}, {"error", &sources.log.errors}}) {
        page.counter("culvert_log_messages_total", "Lines of the log at these levels.",
                     static_cast<double>(count->load()), {{"level", level}});
    }
    metrics::add_process(page);
}

}  // namespace culvert::agent
