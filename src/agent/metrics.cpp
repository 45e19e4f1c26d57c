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
    NodeMetrics(Node& node, std::function<StreamStatus()> stream)
        : node_(node), stream_(std::move(stream)) {}

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
        return out;
    }

  private:
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
};

class Exposed final : public Metrics {
  public:
    Exposed(const std::string& address, Node& node, std::function<StreamStatus()> stream)
        : collector_(std::make_shared<NodeMetrics>(node, std::move(stream))), exposer_(address, 1) {
        exposer_.RegisterCollectable(collector_);
    }

  private:
    std::shared_ptr<NodeMetrics> collector_;
    prometheus::Exposer exposer_;
};

}  // namespace

Result<std::unique_ptr<Metrics>> Metrics::serve(const std::string& address, Node& node,
                                                std::function<StreamStatus()> stream) {
    try {
        return std::make_unique<Exposed>(address, node, std::move(stream));
    } catch (const std::exception& error) {
        return fail(Code::kConflict, fmt::format("serve metrics on {}: {}", address, error.what()),
                    "metrics");
    }
}

}  // namespace culvert::agent
