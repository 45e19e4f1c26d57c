// SPDX-License-Identifier: Apache-2.0
#include "control/metrics.hpp"

#include <array>
#include <future>
#include <memory>

namespace culvert::control {
namespace {

constexpr auto kHubPatience = std::chrono::seconds(1);

double seconds_until(WallTime at, const Clock& clock) {
    return std::chrono::duration<double>(at - clock.wall()).count();
}

void add_store(const store::StoreTimes& times, metrics::Page& page) {
    page.histogram("culvertd_store_transaction_seconds",
                   "A transaction, from asking to durable: queueing, commit and fsync.",
                   times.transactions.read());
    page.histogram("culvertd_store_read_seconds", "A read of the store.", times.reads.read());
    page.counter("culvertd_store_errors_total", "Transactions and reads that failed.",
                 static_cast<double>(times.errors.load()));
    for (const auto& [why, state] :
         {std::pair{"full", store::StoreState::kFull}, {"failed", store::StoreState::kFailed}}) {
        page.gauge("culvertd_store_read_only", "1 while nothing can be written, by why.",
                   times.state == state ? 1 : 0, {{"why", why}});
    }
}

void add_hub_counters(const HubCounters& counters, metrics::Page& page) {
    const auto add = [&](const char* name, const char* help,
                         const std::atomic<std::uint64_t>& value) {
        page.counter(name, help, static_cast<double>(value.load()));
    };
    add("culvertd_hub_deltas_total", "Changes sent to nodes.", counters.deltas);
    add("culvertd_hub_snapshots_total", "Whole intents sent to nodes.", counters.snapshots);
    add("culvertd_hub_garbage_total", "Streams closed for what they sent.", counters.garbage);
    add("culvertd_hub_refused_total", "Streams of unknown, revoked or misnamed nodes.",
        counters.refused);
    add("culvertd_hub_replaced_total", "Streams closed for a newer one of the same node.",
        counters.replaced);
    add("culvertd_hub_refused_deltas_total", "Changes that a node could not apply.",
        counters.ack_errors);
    add("culvertd_hub_late_operations_total",
        "Writes that nodes had not acknowledged in time: answered with an operation to poll.",
        counters.timeouts);
    add("culvertd_hub_undecodable_total", "Stored documents that cannot be read.",
        counters.undecodable);
    add("culvertd_node_renewals_total", "Node certificates renewed.", counters.renewals);
    add("culvertd_node_renewals_refused_total",
        "Renewals refused: another node's name, too early, revoked, or failed.",
        counters.renewals_refused);
    add("culvertd_metering_refused_total",
        "Links and addresses of reports that were not the node's, or absurd.",
        counters.totals_refused);
    add("culvertd_moves_total", "Network interfaces moved to another node.", counters.moves);
    add("culvertd_moves_called_off_total", "Moves of network interfaces that were called off.",
        counters.moves_called_off);
}

void add_nodes(const std::vector<NodeStatus>& nodes, const Clock& clock, metrics::Page& page) {
    std::array<double, 3> counts{};
    double waiting = 0;
    double backlog = 0;
    std::optional<WallTime> first;
    for (const NodeStatus& node : nodes) {
        counts[node.live ? 0 : node.connected ? 1 : 2] += 1;
        waiting += node.waiting ? 1 : 0;
        backlog += static_cast<double>(node.version - std::min(node.version, node.acked));
        if (node.certificate_until != WallTime() && (!first || node.certificate_until < *first)) {
            first = node.certificate_until;
        }
    }
    static constexpr std::array<const char*, 3> kStates{"live", "silent", "away"};
    for (std::size_t i = 0; i < counts.size(); ++i) {
        page.gauge("culvertd_nodes", "Nodes, by what is heard of them.", counts[i],
                   {{"state", kStates[i]}});
    }
    page.gauge("culvertd_nodes_waiting", "Nodes that changes wait for.", waiting);
    page.gauge("culvertd_hub_unacknowledged_deltas", "Changes sent and not acknowledged yet.",
               backlog);
    if (first) {
        page.gauge("culvertd_node_certificate_expiry_seconds",
                   "Until the first of the nodes' certificates ends.",
                   seconds_until(*first, clock));
    }
}

void add_hub(Hub& hub, const Clock& clock, metrics::Page& page) {
    add_hub_counters(hub.counters(), page);
    const HubLoad load = hub.load();
    for (const auto& [queue, length] : {std::pair{"work", load.work}, {"answers", load.answers}}) {
        page.gauge("culvertd_hub_queue_length", "What waits in a queue of the hub.",
                   static_cast<double>(length), {{"queue", queue}});
    }
    page.gauge("culvertd_operations_pending", "Writes that wait for nodes to acknowledge.",
               static_cast<double>(load.settling));
    // the answer may come after nobody waits for it any more
    const auto promise = std::make_shared<std::promise<std::vector<NodeStatus>>>();
    auto answer = promise->get_future();
    hub.status([promise](std::vector<NodeStatus> nodes) { promise->set_value(std::move(nodes)); });
    if (answer.wait_for(kHubPatience) == std::future_status::ready) {
        add_nodes(answer.get(), clock, page);
    }
}

void add_metering(const Metering& metering, metrics::Page& page) {
    page.counter("culvertd_metering_reports_total", "Reports of nodes of what links carried.",
                 static_cast<double>(metering.reports()));
    const auto [series, points, counts] = metering.read([](const SeriesTable& table) {
        return std::tuple(table.all().size(), table.points(), table.counts());
    });
    page.gauge("culvertd_metering_series", "Series that are kept for the API's metrics.",
               static_cast<double>(series));
    page.gauge("culvertd_metering_points", "Minutes and hours of them.",
               static_cast<double>(points));
    page.counter("culvertd_metering_series_refused_total",
                 "Values whose series found no room in its subscription's share.",
                 static_cast<double>(counts.refused));
    page.counter("culvertd_metering_series_dropped_total",
                 "Series that made room for those of subscriptions that have fewer.",
                 static_cast<double>(counts.dropped));
    page.counter("culvertd_metering_tightened_total",
                 "How often points of a subscription became fewer because they did not fit.",
                 static_cast<double>(counts.tightened));
}

void add_server(const http::ServerStats& stats, metrics::Page& page) {
    page.gauge("culvertd_http_connections", "Open connections of the API.",
               static_cast<double>(stats.connections));
    page.counter("culvertd_http_accepted_total", "Connections taken.",
                 static_cast<double>(stats.accepted));
    for (const auto& [why, count] : {std::pair{"limit", stats.refused_limit},
                                     {"slow", stats.cut_timeout},
                                     {"large", stats.cut_too_large},
                                     {"handshake", stats.failed_handshakes},
                                     {"malformed", stats.malformed}}) {
        page.counter("culvertd_http_cut_total", "Connections refused or cut, by why.",
                     static_cast<double>(count), {{"why", why}});
    }
}

}  // namespace

void collect(const MetricSources& sources, metrics::Page& page) {
    page.gauge("culvertd_ready", "1 while /readyz says so.", sources.ready() ? 1 : 0);
    sources.requests.collect(page);
    add_server(sources.server.stats(), page);
    add_store(sources.store, page);
    add_hub(sources.hub, sources.clock, page);
    add_metering(sources.metering, page);
    for (const auto& [name, until] : sources.certificates()) {
        page.gauge("culvertd_certificate_expiry_seconds", "Until a certificate ends.",
                   seconds_until(until, sources.clock), {{"certificate", name}});
    }
    for (const auto& [level, count] :
         {std::pair{"warn", &sources.log.warnings}, {"error", &sources.log.errors}}) {
        page.counter("culvertd_log_messages_total", "Lines of the log at these levels.",
                     static_cast<double>(count->load()), {{"level", level}});
    }
    metrics::add_process(page);
}

}  // namespace culvert::control
