// SPDX-License-Identifier: Apache-2.0
#include "agent/metrics.hpp"

#include "agent/names.hpp"

#include <fmt/format.h>
#include <prometheus/client_metric.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/metric_type.h>

#include <utility>
#include <vector>

namespace culvert::agent {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

class NodeMetrics final : public prometheus::Collectable {
  public:
    NodeMetrics(Node& node, std::function<StreamStatus()> stream,
                std::function<ReachStatus()> reach)
        : node_(node), stream_(std::move(stream)), reach_(std::move(reach)) {}

    std::vector<MetricFamily> Collect() const override {
        std::vector<MetricFamily> out;
        if (const auto drops = node_.maps().drops()) {
            out.push_back(named("culvert_dropped_packets_total", "Packets dropped, by reason.",
                                "reason", drop_names(), *drops));
        }
        if (const auto counters = node_.maps().counters()) {
            out.push_back(named("culvert_packets_total", "What moved, by path.", "path",
                                counter_names(), *counters));
        }
        const NodeStatus status = node_.status();
        const StreamStatus stream = stream_();
        const auto& counts = node_.counts();
        out.push_back(gauge("culvert_flows", "Entries of the flow table.", status.flows));
        out.push_back(gauge("culvert_flow_limit", "Size of the flow table.", status.flow_limit));
        out.push_back(layouts(status));
        out.push_back(gauge("culvert_flow_quota",
                            "Most flow entries that one interface or one link may hold.",
                            status.flow_quota));
        out.push_back(gauge("culvert_flows_opening", "Flow entries with an unfinished handshake.",
                            status.charged.opening));
        out.push_back(by_interface("culvert_interface_flows",
                                   "Flow entries that connections of an interface hold.", status,
                                   &cv_held::entries));
        out.push_back(by_interface("culvert_interface_flows_opening",
                                   "Of these, with an unfinished handshake.", status,
                                   &cv_held::opening));
        out.push_back(gauge("culvert_links", "Links this node knows.", status.links));
        out.push_back(
            gauge("culvert_interfaces", "Interfaces of workloads.", status.interfaces.size()));
        out.push_back(gauge("culvert_intent_version", "Version of the intent in the kernel.",
                            status.held.version));
        out.push_back(gauge("culvert_stream_connected", "1 while the control plane is connected.",
                            stream.connected ? 1 : 0));
        out.push_back(
            counter("culvert_stream_connects_total", "Streams that came up.", stream.connects));
        out.push_back(counter("culvert_stream_refused_total", "Messages that were no valid delta.",
                              stream.refused));
        out.push_back(counter("culvert_deltas_applied_total", "Deltas applied.", counts.applied));
        out.push_back(counter("culvert_deltas_failed_total", "Deltas the kernel did not take.",
                              counts.failed));
        add_reach(out);
        return out;
    }

  private:
    // One series a peer: labelled by its name, which lives as long as the intent knows it.
    void add_reach(std::vector<MetricFamily>& out) const {
        const ReachStatus reach = reach_();
        out.push_back(gauge("culvert_isolated", "1 while no peer answers this node at all.",
                            reach.isolated ? 1 : 0));
        out.push_back(counter("culvert_echoes_sent_total", "Echoes sent to peers and relays.",
                              reach.questions));
        out.push_back(counter("culvert_echoes_unsent_total",
                              "Echoes that this machine itself refused to send.", reach.unsent));
        MetricFamily up{"culvert_peer_up", "1 unless the peer is lost.", MetricType::Gauge, {}};
        MetricFamily rtt{
            "culvert_peer_rtt_seconds", "Round trip of echoes, smoothed.", MetricType::Gauge, {}};
        MetricFamily loss{"culvert_peer_echo_loss_ratio",
                          "Share of echoes not answered of late.",
                          MetricType::Gauge,
                          {}};
        MetricFamily losses{
            "culvert_peer_lost_total", "How often the peer was lost.", MetricType::Counter, {}};
        for (const PeerStatus& peer : reach.peers) {
            const auto add = [&](MetricFamily& family, double value) {
                ClientMetric metric;
                metric.label.push_back({"peer", peer.name});
                (family.type == MetricType::Counter ? metric.counter.value : metric.gauge.value) =
                    value;
                family.metric.push_back(std::move(metric));
            };
            add(up, peer.view.state == PeerState::kLost ? 0 : 1);
            add(rtt, std::chrono::duration<double>(peer.view.rtt).count());
            add(loss, peer.view.loss);
            add(losses, static_cast<double>(peer.view.losses));
        }
        for (MetricFamily* family : {&up, &rtt, &loss, &losses}) {
            out.push_back(std::move(*family));
        }
    }

    static MetricFamily named(std::string name, std::string help, const std::string& label,
                              std::span<const CountName> names,
                              const std::vector<std::uint64_t>& values) {
        MetricFamily family{std::move(name), std::move(help), MetricType::Counter, {}};
        for (const auto& each : names) {
            ClientMetric metric;
            metric.label.push_back({label, std::string(each.symbol)});
            if (!each.severity.empty()) {
                metric.label.push_back({"severity", std::string(each.severity)});
            }
            metric.counter.value = static_cast<double>(values[each.number]);
            family.metric.push_back(std::move(metric));
        }
        return family;
    }
    static MetricFamily layouts(const NodeStatus& status) {
        MetricFamily family{"culvert_layout_flows",
                            "Flow entries by layout of the kernel maps.",
                            MetricType::Gauge,
                            {}};
        for (const auto& each : status.layouts) {
            ClientMetric metric;
            metric.label.push_back({"layout", fmt::format("{}", each.version)});
            metric.label.push_back({"flow_limit", fmt::format("{}", each.flow_limit)});
            metric.label.push_back({"state", family.metric.empty() ? "active" : "draining"});
            metric.gauge.value = static_cast<double>(each.flows);
            family.metric.push_back(std::move(metric));
        }
        return family;
    }
    static MetricFamily by_interface(std::string name, std::string help, const NodeStatus& status,
                                     __u32 cv_held::* count) {
        MetricFamily family{std::move(name), std::move(help), MetricType::Gauge, {}};
        for (const auto& each : status.interfaces) {
            ClientMetric metric;
            metric.label.push_back({"nic", each.binding.nic_id});
            metric.gauge.value = static_cast<double>(each.charged.*count);
            family.metric.push_back(std::move(metric));
        }
        return family;
    }
    static MetricFamily gauge(std::string name, std::string help, std::uint64_t value) {
        ClientMetric metric;
        metric.gauge.value = static_cast<double>(value);
        return {std::move(name), std::move(help), MetricType::Gauge, {std::move(metric)}};
    }
    static MetricFamily counter(std::string name, std::string help, std::uint64_t value) {
        ClientMetric metric;
        metric.counter.value = static_cast<double>(value);
        return {std::move(name), std::move(help), MetricType::Counter, {std::move(metric)}};
    }

    Node& node_;
    std::function<StreamStatus()> stream_;
    std::function<ReachStatus()> reach_;
};

class Exposed final : public Metrics {
  public:
    Exposed(const std::string& address, Node& node, std::function<StreamStatus()> stream,
            std::function<ReachStatus()> reach)
        : collector_(std::make_shared<NodeMetrics>(node, std::move(stream), std::move(reach))),
          exposer_(address, 1) {
        exposer_.RegisterCollectable(collector_);
    }

  private:
    std::shared_ptr<NodeMetrics> collector_;
    prometheus::Exposer exposer_;
};

}  // namespace

Result<std::unique_ptr<Metrics>> Metrics::serve(const std::string& address, Node& node,
                                                std::function<StreamStatus()> stream,
                                                std::function<ReachStatus()> reach) {
    try {
        return std::make_unique<Exposed>(address, node, std::move(stream), std::move(reach));
    } catch (const std::exception& error) {
        return fail(Code::kConflict, fmt::format("serve metrics on {}: {}", address, error.what()),
                    "metrics");
    }
}

}  // namespace culvert::agent
