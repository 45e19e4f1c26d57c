// SPDX-License-Identifier: Apache-2.0
#include "cli/installation.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <boost/json.hpp>

#include <algorithm>

namespace culvert::cli {
namespace {

namespace json = boost::json;

json::object reach_json(const AgentReach& reach) {
    json::array peers;
    for (const auto& peer : reach.peers) {
        peers.push_back({{"name", peer.name},
                         {"index", peer.index},
                         {"outer", peer.outer},
                         {"state", peer.state},
                         {"fault", peer.fault},
                         {"rttMicroseconds", peer.rtt_us},
                         {"loss", peer.loss},
                         {"timesLost", peer.losses},
                         {"silentMilliseconds", peer.silent_ms}});
    }
    return {{"probing", reach.probing}, {"isolated", reach.isolated},
            {"fenced", reach.fenced},   {"intervalMs", reach.interval_ms},
            {"misses", reach.misses},   {"error", reach.error},
            {"peers", std::move(peers)}};
}

json::array nat_json(const AgentStatus& agent) {
    json::array out;
    for (const auto& ports : agent.nat_ports) {
        out.push_back({{"service", ports.service},
                       {"address", ports.address},
                       {"used", ports.used},
                       {"left", ports.left()}});
    }
    return out;
}

json::object agent_json(const AgentStatus& agent) {
    json::object out;
    out["node"] = agent.node;
    out["connected"] = agent.connected;
    out["control"] = agent.control;
    out["intent"] = {{"epoch", agent.epoch}, {"version", agent.version}};
    out["attachMode"] = agent.attach_mode;
    out["abiVersion"] = agent.abi_version;
    out["flows"] = agent.flows;
    out["flowLimit"] = agent.flow_limit;
    out["flowQuota"] = agent.flow_quota;
    out["flowsOpening"] = agent.flows_opening;
    out["links"] = agent.links;
    out["backbone"] = agent.backbone;
    out["outer"] = agent.outer;
    out["workloadMtu"] = agent.workload_mtu;
    out["health"] = agent.health_note;
    out["build"] = agent.build;
    out["pid"] = agent.pid;
    out["instance"] = agent.instance;
    if (!agent.upgrade.empty()) {
        out["upgrade"] = {{"detail", agent.upgrade}, {"failed", agent.upgrade_failed}};
    }
    json::array layouts;
    for (const auto& layout : agent.layouts) {
        layouts.push_back({{"version", layout.version},
                           {"state", layouts.empty() ? "active" : "draining"},
                           {"flows", layout.flows},
                           {"flowLimit", layout.flow_limit}});
    }
    out["layouts"] = std::move(layouts);
    json::array nics;
    for (const auto& nic : agent.nics) {
        nics.push_back({{"id", nic.nic_id},
                        {"index", nic.index},
                        {"netns", nic.netns},
                        {"tap", nic.tap},
                        {"ifname", nic.ifname},
                        {"hostIfname", nic.host_ifname},
                        {"address", nic.address},
                        {"carrying", nic.carrying},
                        {"flows", nic.flows},
                        {"flowsOpening", nic.flows_opening}});
    }
    out["nics"] = std::move(nics);
    out["natPorts"] = nat_json(agent);
    out["reach"] = reach_json(agent.reach);
    return out;
}

// "2 (12 flows); 1 drains (3,400 flows)"
std::string layouts_of(const AgentStatus& agent) {
    std::string out;
    for (const auto& layout : agent.layouts) {
        out += fmt::format("{}{}{} ({} flows)", out.empty() ? "" : "; ", layout.version,
                           out.empty() ? "" : " drains", grouped(layout.flows));
    }
    return out.empty() ? std::to_string(agent.abi_version) : out;
}

std::string reach_line(const AgentReach& reach) {
    if (!reach.probing) {
        return "off: every peer counts as alive";
    }
    if (!reach.error.empty()) {
        return "NO echo can be sent: " + reach.error;
    }
    if (reach.isolated) {
        return "ISOLATED: no peer answers, look at this node's backbone first";
    }
    if (reach.fenced) {
        return "FENCED: peers begin no connections here until the newest intent is";
    }
    const auto lost = std::ranges::count(reach.peers, "lost", &PeerReach::state);
    return fmt::format("{} of {} answer, lost after {} x {} ms",
                       reach.peers.size() - static_cast<std::size_t>(lost), reach.peers.size(),
                       reach.misses, reach.interval_ms);
}

void print_peers(const AgentReach& reach) {
    if (!reach.probing || reach.peers.empty()) {
        return;
    }
    std::vector<Row> rows;
    rows.reserve(reach.peers.size());
    for (const auto& peer : reach.peers) {
        rows.push_back({peer.name, peer.outer, peer.state == "lost" ? "LOST" : peer.state,
                        peer.fault, fmt::format("{:.3f}", static_cast<double>(peer.rtt_us) / 1000),
                        fmt::format("{:.1f}", peer.loss * 100), std::to_string(peer.silent_ms),
                        std::to_string(peer.losses)});
    }
    fmt::print("\n");
    print_table(
        {"PEER", "BACKBONE", "STATE", "FAULT", "RTT ms", "LOSS %", "SILENT ms", "TIMES LOST"},
        rows);
}

void print_nat(const AgentStatus& agent) {
    if (agent.nat_ports.empty()) {
        return;
    }
    std::vector<Row> rows;
    rows.reserve(agent.nat_ports.size());
    for (const auto& ports : agent.nat_ports) {
        rows.push_back({ports.address, grouped(ports.used), grouped(ports.left()), ports.service});
    }
    fmt::print("\n");
    print_table({"NAT ADDRESS", "PORTS USED", "LEFT", "SERVICE"}, rows);
}

void print_agent(const AgentStatus& agent) {
    const auto flows = agent.flow_limit == 0 ? grouped(agent.flows)
                                             : fmt::format("{} of {}", grouped(agent.flows),
                                                           grouped(agent.flow_limit));
    print_fields({
        {"agent", fmt::format("{} ({})", agent.node, agent.build)},
        {"  control plane",
         fmt::format("{} {}", agent.connected ? "connected to" : "NOT connected to",
                     agent.control)},
        {"  intent", fmt::format("version {}", agent.version)},
        {"  programs", fmt::format("{}, map layout {}", agent.attach_mode, layouts_of(agent))},
        {"  backbone", fmt::format("{} {}", agent.backbone, agent.outer)},
        {"  workload MTU", std::to_string(agent.workload_mtu)},
        {"  flows", flows},
        {"  links", grouped(agent.links)},
        {"  health", agent.health_note},
        {"  peers", reach_line(agent.reach)},
    });
    print_peers(agent.reach);
    if (agent.nics.empty()) {
        fmt::print("\nno network interface is attached here\n");
        return;
    }
    fmt::print("\n");
    std::vector<Row> rows;
    rows.reserve(agent.nics.size());
    for (const auto& nic : agent.nics) {
        rows.push_back({std::to_string(nic.index), nic.address, nic.ifname, nic.host_ifname,
                        nic.carrying ? "yes" : "NO", nic.tap ? "TAP" : nic.netns, nic.nic_id});
    }
    print_table({"NIC", "ADDRESS", "IFNAME", "HOST IFNAME", "CARRYING", "NAMESPACE", "ID"}, rows);
    print_nat(agent);
}

}  // namespace

Result<int> run_status(const Settings& settings) {
    const Layout layout{settings.data_dir};
    auto credentials = find_credentials(settings);
    const std::string control = credentials ? credentials->control : settings.control;
    auto metadata = credentials ? metadata_of(control, credentials->ca_pem)
                                : Result<json::value>(std::unexpected(credentials.error()));
    auto socket = connect_agent(agent_socket(settings.data_dir));
    auto agent =
        socket ? (*socket)->status() : Result<AgentStatus>(std::unexpected(socket.error()));
    const bool good = metadata && agent && agent->connected;

    if (settings.json) {
        json::object out;
        json::object plane;
        plane["url"] = control;
        plane["reachable"] = metadata.has_value();
        if (!metadata) {
            plane["error"] = metadata.error().message;
        }
        out["controlPlane"] = std::move(plane);
        out["agent"] = agent ? json::value(agent_json(*agent)) : json::value(nullptr);
        if (!agent) {
            out["agentError"] = agent.error().message;
        }
        print_json(out);
        return good ? 0 : 1;
    }
    if (metadata) {
        const auto process = running_from(layout.pid_of(kControlProcess));
        fmt::print("control plane: {} answers{}\n\n", control,
                   process ? fmt::format(" (process {})", process->pid) : "");
    } else {
        fmt::print("control plane: does not answer: {}\n\n", metadata.error().message);
    }
    if (agent) {
        print_agent(*agent);
    } else {
        fmt::print("agent: does not answer: {}\n", agent.error().message);
    }
    return good ? 0 : 1;
}

}  // namespace culvert::cli
