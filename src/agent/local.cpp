// SPDX-License-Identifier: Apache-2.0
#include "agent/local.hpp"

#include "abi/names.h"
#include "agent/doorkeeper.hpp"
#include "agent/names.hpp"
#include "api/local.grpc.pb.h"
#include "base/log_control.hpp"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace culvert::agent {
namespace {

constexpr auto kGrace = std::chrono::milliseconds(500);
constexpr std::chrono::milliseconds kLongestWait{60000};

grpc::StatusCode code_of(Code code) {
    switch (code) {
        case Code::kInvalidArgument: return grpc::StatusCode::INVALID_ARGUMENT;
        case Code::kUnauthenticated: return grpc::StatusCode::UNAUTHENTICATED;
        case Code::kPermissionDenied: return grpc::StatusCode::PERMISSION_DENIED;
        case Code::kNotFound: return grpc::StatusCode::NOT_FOUND;
        case Code::kConflict:
        case Code::kPreconditionFailed: return grpc::StatusCode::FAILED_PRECONDITION;
        case Code::kTooLarge:
        case Code::kThrottled:
        case Code::kStorageFull: return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case Code::kUnavailable: return grpc::StatusCode::UNAVAILABLE;
        case Code::kTimeout: return grpc::StatusCode::DEADLINE_EXCEEDED;
        case Code::kCorrupt: return grpc::StatusCode::DATA_LOSS;
        case Code::kInternal: return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::INTERNAL;
}

grpc::Status refusal(const Error& error) {
    return {code_of(error.code), error.target.empty()
                                     ? error.message
                                     : fmt::format("{} ({})", error.message, error.target)};
}

void fill_reach(const ReachStatus& reach, api::Reach& out) {
    out.set_probing(reach.probing);
    out.set_isolated(reach.isolated);
    out.set_interval_ms(static_cast<std::uint32_t>(reach.times.interval.count()));
    out.set_misses(reach.times.misses);
    out.set_error(reach.error);
    out.set_sent(reach.questions);
    out.set_unsent(reach.unsent);
    const auto now = std::chrono::steady_clock::now();
    for (const PeerStatus& peer : reach.peers) {
        const PeerView& view = peer.view;
        const auto silent = now - (view.heard == SteadyTime{} ? view.since : view.heard);
        auto* to = out.add_peers();
        to->set_name(peer.name);
        to->set_index(view.node);
        to->set_outer(peer.outer);
        const bool fenced = view.fenced && view.state != PeerState::kLost;
        to->set_state(fenced ? "fenced" : to_string(view.state));
        to->set_fault(to_string(view.fault));
        to->set_rtt_us(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(view.rtt).count()));
        to->set_loss(view.loss);
        to->set_losses(view.losses);
        to->set_silent_ms(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(silent).count()));
    }
}

std::string health_note(const std::vector<BackendView>& backends) {
    const auto up = std::ranges::count_if(backends, [](const BackendView& one) {
        return one.state == Health::State::kUp || one.state == Health::State::kUnknown;
    });
    const auto probed = std::ranges::count_if(
        backends, [](const BackendView& one) { return one.here && one.probe; });
    return fmt::format("{} of {} backends healthy, {} probed here", up, backends.size(), probed);
}

std::uint64_t ms_since(SteadyTime then) {
    const auto passed = std::chrono::steady_clock::now() - then;
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(passed).count());
}

void fill_backend(const BackendView& view, const HealthStatus& health,
                  const std::map<std::uint32_t, std::string>& nodes, api::Backend& out) {
    out.set_pool(view.pool);
    out.set_pool_id(view.key.pool);
    out.set_probe_id(view.key.probe);
    out.set_nic(view.nic);
    out.set_index(view.key.nic);
    const auto node = nodes.find(view.node);
    out.set_node(node == nodes.end() ? std::string() : node->second);
    if (view.probe) {
        out.set_probe(view.probe->name());
        out.set_target(to_string(spec_of(*view.probe, {})));
    }
    out.set_state(to_string(view.state));
    out.set_serving(view.serving);
    out.set_here(view.here);
    const auto probed = health.probed.find(view.key);
    if (probed != health.probed.end() && probed->second.known) {
        out.set_reason(probed->second.reason);
        out.set_took_us(static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::microseconds>(probed->second.took).count()));
        out.set_since_ms(ms_since(probed->second.since));
    }
}

class LocalService final : public api::Local::Service {
  public:
    LocalService(Node& node, const Identity& identity, LocalSources sources, Upgrader& upgrader,
                 std::string build)
        : node_(node),
          identity_(identity),
          sources_(std::move(sources)),
          upgrader_(upgrader),
          build_(std::move(build)) {}

    grpc::Status Plumb(grpc::ServerContext*, const api::PlumbRequest* request,
                       api::PlumbReply* reply) override {
        std::optional<TapWish> tap;
        if (request->has_tap()) {
            tap = TapWish{.name = request->tap().name()};
            if (request->tap().has_user()) {
                tap->user = request->tap().user();
            }
        }
        const auto done = node_.plumb(
            {.nic_id = request->nic_id(),
             .netns = request->netns(),
             .ifname = request->ifname().empty() ? "eth0" : request->ifname(),
             .tap = std::move(tap),
             .move = request->move(),
             .wait = std::min(kLongestWait, std::chrono::milliseconds(request->wait_ms()))});
        if (!done) {
            return refusal(done.error());
        }
        reply->set_host_ifname(done->host_ifname);
        reply->set_mac(done->mac.str());
        reply->set_address(fmt::format("{}/{}", done->address.str(), done->length));
        reply->set_gateway(done->gateway.str());
        if (done->six) {
            reply->set_six(done->six->str() + "/64");
        }
        reply->set_mtu(done->mtu);
        return grpc::Status::OK;
    }

    grpc::Status Unplumb(grpc::ServerContext*, const api::UnplumbRequest* request,
                         api::UnplumbReply* reply) override {
        const auto existed = node_.unplumb(request->nic_id());
        if (!existed) {
            return refusal(existed.error());
        }
        reply->set_existed(*existed);
        return grpc::Status::OK;
    }

    grpc::Status Migration(grpc::ServerContext*, const api::MigrationRequest* request,
                           api::MigrationReply* reply) override {
        const MoveProgress progress = node_.progress(request->nic_id());
        switch (progress.where) {
            case MoveProgress::Where::kNowhere:
                reply->set_where(api::MigrationReply::NOWHERE);
                break;
            case MoveProgress::Where::kWaiting:
                reply->set_where(api::MigrationReply::WAITING);
                break;
            case MoveProgress::Where::kCarrying:
                reply->set_where(api::MigrationReply::CARRYING);
                break;
            case MoveProgress::Where::kDone: reply->set_where(api::MigrationReply::DONE); break;
        }
        reply->set_gap_us(static_cast<std::uint64_t>(progress.gap.count()));
        reply->set_flows(progress.outcome.flows);
        reply->set_refused(progress.outcome.refused);
        reply->set_error(progress.error);
        return grpc::Status::OK;
    }

    grpc::Status Status(grpc::ServerContext*, const api::StatusRequest*,
                        api::StatusReply* reply) override {
        const NodeStatus status = node_.status();
        reply->set_node(identity_.name);
        reply->set_connected(sources_.stream().connected);
        reply->set_control(identity_.control);
        reply->set_epoch(status.held.epoch);
        reply->set_version(status.held.version);
        reply->set_attach_mode(status.attach_mode);
        reply->set_abi_version(status.layouts.front().version);
        reply->set_flows(status.flows);
        reply->set_flow_limit(status.flow_limit);
        reply->set_flow_quota(status.flow_quota);
        reply->set_flows_opening(status.charged.opening);
        reply->set_links(status.links);
        reply->set_backbone(status.backbone);
        reply->set_outer(status.outer);
        reply->set_workload_mtu(status.workload_mtu);
        reply->set_health_note(health_note(node_.backends()));
        reply->set_build(build_);
        const auto upgrade = upgrader_.outcome();
        reply->set_instance(upgrader_.instance());
        reply->set_pid(static_cast<std::uint32_t>(::getpid()));
        reply->set_upgrade(upgrade.text);
        reply->set_upgrade_failed(upgrade.failed);
        for (const auto& each : status.layouts) {
            auto* layout = reply->add_layouts();
            layout->set_version(each.version);
            layout->set_flows(each.flows);
            layout->set_flow_limit(each.flow_limit);
        }
        for (const auto& each : status.interfaces) {
            auto* nic = reply->add_nics();
            nic->set_nic_id(each.binding.nic_id);
            nic->set_index(each.binding.index);
            nic->set_netns(each.binding.netns);
            nic->set_ifname(each.binding.ifname);
            nic->set_host_ifname(each.binding.host_ifname);
            nic->set_tap(each.binding.is_tap());
            nic->set_address(each.address);
            nic->set_carrying(each.carrying);
            nic->set_flows(each.charged.entries);
            nic->set_flows_opening(each.charged.opening);
        }
        for (const NatUsage& each : sources_.totals().nats) {
            auto* ports = reply->add_nat_ports();
            ports->set_service(each.service.resource);
            ports->set_address(each.address.str());
            ports->set_used(each.used);
            ports->set_limit(kNatPorts);
        }
        fill_reach(sources_.reach(), *reply->mutable_reach());
        reply->mutable_reach()->set_fenced(status.fenced);
        return grpc::Status::OK;
    }

    grpc::Status Backends(grpc::ServerContext*, const api::BackendsRequest*,
                          api::BackendsReply* reply) override {
        const HealthStatus health = sources_.health();
        const auto around = node_.surroundings();
        std::map<std::uint32_t, std::string> nodes{{around.node, identity_.name}};
        for (const auto& [index, peer] : around.peers) {
            nodes[index] = peer.name;
        }
        for (const BackendView& view : node_.backends()) {
            fill_backend(view, health, nodes, *reply->add_backends());
        }
        reply->set_error(health.error);
        reply->set_note_error(health.note_error);
        reply->set_probes(health.probes);
        reply->set_failed(health.failed);
        reply->set_late(health.late);
        reply->set_notes_sent(health.notes.sent);
        reply->set_notes_heard(health.notes.heard);
        reply->set_notes_refused(health.notes.refused);
        reply->set_interval_ms(static_cast<std::uint32_t>(health.interval.count()));
        return grpc::Status::OK;
    }

    grpc::Status Counters(grpc::ServerContext*, const api::CountersRequest*,
                          api::CountersReply* reply) override {
        const auto drops = node_.maps().drops();
        const auto counters = node_.maps().counters();
        if (!drops || !counters) {
            return refusal(drops ? counters.error() : drops.error());
        }
        for (const auto& name : drop_names()) {
            add(reply->add_drops(), name, *drops);
        }
        for (const auto& name : counter_names()) {
            add(reply->add_counters(), name, *counters);
        }
        return grpc::Status::OK;
    }

    grpc::Status Upgrade(grpc::ServerContext*, const api::UpgradeRequest* request,
                         grpc::ServerWriter<api::UpgradeStep>* steps) override {
        const auto tell = [&](const std::string& text) {
            api::UpgradeStep step;
            step.set_text(text);
            steps->Write(step);
        };
        const auto candidate = upgrader_.examine(request->binary());
        if (!candidate) {
            return refusal(candidate.error());
        }
        tell(fmt::format("{} is build {} with map layout {}; the kernel takes its programs",
                         candidate->binary.string(), candidate->build, candidate->layout));
        const auto layouts = node_.status().layouts;
        const bool third = layouts.size() > 1 && candidate->layout != layouts[0].version &&
                           candidate->layout != layouts[1].version;
        if (third && !request->force()) {
            return refusal(
                fail(Code::kConflict,
                     fmt::format("upgrade: layout {} still serves {} flows, which would end; wait "
                                 "until it has drained, or use --force",
                                 layouts[1].version, layouts[1].flows))
                    .error());
        }
        if (request->dry_run()) {
            tell("nothing was changed");
            return grpc::Status::OK;
        }
        tell(fmt::format("process {} becomes it", ::getpid()));
        upgrader_.request(*candidate);
        return grpc::Status::OK;
    }

    grpc::Status LogLevel(grpc::ServerContext*, const api::LogLevelRequest* request,
                          api::LogLevelReply* reply) override {
        if (!request->level().empty()) {
            if (auto set = set_log_level(request->level()); !set) {
                return refusal(set.error());
            }
            spdlog::warn("agent: the log level is now {}", log_level());
        }
        reply->set_level(log_level());
        return grpc::Status::OK;
    }

  private:
    static void add(api::Counter* out, const CountName& name,
                    const std::vector<std::uint64_t>& values) {
        out->set_name(std::string(name.symbol));
        out->set_value(values[name.number]);
        out->set_sentence(std::string(name.sentence));
        out->set_severity(std::string(name.severity));
    }

    Node& node_;
    const Identity& identity_;
    LocalSources sources_;
    Upgrader& upgrader_;
    std::string build_;
};

class GrpcLocal final : public Local {
  public:
    GrpcLocal(Node& node, const Identity& identity, LocalSources sources, Upgrader& upgrader,
              std::string build)
        : identity_(identity),
          service_(node, identity_, std::move(sources), upgrader, std::move(build)) {}
    GrpcLocal(const GrpcLocal&) = delete;
    GrpcLocal& operator=(const GrpcLocal&) = delete;
    ~GrpcLocal() override {
        door_.reset();
        if (server_) {
            server_->Shutdown(std::chrono::system_clock::now() + kGrace);
        }
    }

    culvert::Status start(const std::filesystem::path& socket) {
        grpc::ServerBuilder builder;
        builder.RegisterService(&service_);
        server_ = builder.BuildAndStart();
        if (!server_) {
            return fail(Code::kInternal, fmt::format("serve {}", socket.string()));
        }
        auto door = Doorkeeper::open(socket, [this](runtime::Fd connection) {
            grpc::AddInsecureChannelFromFd(server_.get(), connection.release());
        });
        if (!door) {
            return std::unexpected(std::move(door.error()));
        }
        door_ = std::move(*door);
        return {};
    }

  private:
    const Identity identity_;
    LocalService service_;
    std::unique_ptr<grpc::Server> server_;
    std::unique_ptr<Doorkeeper> door_;
};

}  // namespace

Result<std::unique_ptr<Local>> Local::serve(Node& node, const Identity& identity,
                                            LocalSources sources, Upgrader& upgrader,
                                            const std::filesystem::path& socket,
                                            std::string build) {
    auto out =
        std::make_unique<GrpcLocal>(node, identity, std::move(sources), upgrader, std::move(build));
    if (auto started = out->start(socket); !started) {
        return std::unexpected(std::move(started.error()));
    }
    return out;
}

}  // namespace culvert::agent
