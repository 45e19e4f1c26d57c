// SPDX-License-Identifier: Apache-2.0
#include "cli/local.hpp"

#include "api/local.grpc.pb.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

namespace culvert::cli {
namespace {

using namespace std::chrono_literals;

constexpr auto kCallTimeout = 10s;
constexpr auto kUpgradeTimeout = 120s;
// how long the agent may wait for the intent that names a NIC just attached
constexpr std::uint32_t kPlumbWaitMs = 5000;

Code code_of(grpc::StatusCode code) {
    switch (code) {
        case grpc::StatusCode::INVALID_ARGUMENT: return Code::kInvalidArgument;
        case grpc::StatusCode::NOT_FOUND: return Code::kNotFound;
        case grpc::StatusCode::PERMISSION_DENIED: return Code::kPermissionDenied;
        case grpc::StatusCode::ALREADY_EXISTS:
        case grpc::StatusCode::FAILED_PRECONDITION: return Code::kConflict;
        case grpc::StatusCode::UNAVAILABLE: return Code::kUnavailable;
        case grpc::StatusCode::DEADLINE_EXCEEDED: return Code::kTimeout;
        case grpc::StatusCode::RESOURCE_EXHAUSTED: return Code::kTooLarge;
        default: return Code::kInternal;
    }
}

Migration::Where where_of(api::MigrationReply::Where where) {
    switch (where) {
        case api::MigrationReply::WAITING: return Migration::Where::kWaiting;
        case api::MigrationReply::CARRYING: return Migration::Where::kCarrying;
        case api::MigrationReply::DONE: return Migration::Where::kDone;
        default: return Migration::Where::kNowhere;
    }
}

CounterValue value_of(const api::Counter& counter) {
    return {counter.name(), counter.value(), counter.sentence(), counter.severity()};
}

AgentReach reach_of(const api::Reach& reach) {
    AgentReach out{.probing = reach.probing(),
                   .isolated = reach.isolated(),
                   .fenced = reach.fenced(),
                   .interval_ms = reach.interval_ms(),
                   .misses = reach.misses(),
                   .error = reach.error(),
                   .peers = {}};
    for (const auto& peer : reach.peers()) {
        out.peers.push_back({.name = peer.name(),
                             .index = peer.index(),
                             .outer = peer.outer(),
                             .state = peer.state(),
                             .fault = peer.fault(),
                             .rtt_us = peer.rtt_us(),
                             .loss = peer.loss(),
                             .losses = peer.losses(),
                             .silent_ms = peer.silent_ms()});
    }
    return out;
}

class GrpcAgent final : public LocalAgent {
  public:
    explicit GrpcAgent(std::filesystem::path socket)
        : socket_(std::move(socket)),
          stub_(api::Local::NewStub(grpc::CreateChannel("unix:" + socket_.string(),
                                                        grpc::InsecureChannelCredentials()))) {}

    Result<AgentStatus> status() override {
        api::StatusReply reply;
        CULVERT_TRY_STATUS(call("ask the agent for its state", [&](grpc::ClientContext& context) {
            return stub_->Status(&context, api::StatusRequest{}, &reply);
        }));
        AgentStatus out{.node = reply.node(),
                        .connected = reply.connected(),
                        .control = reply.control(),
                        .epoch = reply.epoch(),
                        .version = reply.version(),
                        .attach_mode = reply.attach_mode(),
                        .abi_version = reply.abi_version(),
                        .flows = reply.flows(),
                        .flow_limit = reply.flow_limit(),
                        .flow_quota = reply.flow_quota(),
                        .flows_opening = reply.flows_opening(),
                        .links = reply.links(),
                        .backbone = reply.backbone(),
                        .outer = reply.outer(),
                        .workload_mtu = reply.workload_mtu(),
                        .health_note = reply.health_note(),
                        .build = reply.build(),
                        .nics = {},
                        .layouts = {},
                        .reach = reach_of(reply.reach()),
                        .instance = reply.instance(),
                        .pid = reply.pid(),
                        .upgrade = reply.upgrade(),
                        .upgrade_failed = reply.upgrade_failed()};
        for (const auto& ports : reply.nat_ports()) {
            out.nat_ports.push_back(
                {ports.service(), ports.address(), ports.used(), ports.limit()});
        }
        for (const auto& layout : reply.layouts()) {
            out.layouts.push_back({layout.version(), layout.flows(), layout.flow_limit()});
        }
        for (const auto& nic : reply.nics()) {
            out.nics.push_back({nic.nic_id(), nic.index(), nic.netns(), nic.ifname(),
                                nic.host_ifname(), nic.address(), nic.carrying(), nic.flows(),
                                nic.flows_opening(), nic.tap()});
        }
        return out;
    }

    Result<CounterSet> counters() override {
        api::CountersReply reply;
        CULVERT_TRY_STATUS(call("read counters", [&](grpc::ClientContext& context) {
            return stub_->Counters(&context, api::CountersRequest{}, &reply);
        }));
        CounterSet out;
        for (const auto& counter : reply.drops()) {
            out.drops.push_back(value_of(counter));
        }
        for (const auto& counter : reply.counters()) {
            out.counters.push_back(value_of(counter));
        }
        return out;
    }

    Result<LocalBackends> backends() override {
        api::BackendsReply reply;
        CULVERT_TRY_STATUS(call("list backends", [&](grpc::ClientContext& context) {
            return stub_->Backends(&context, api::BackendsRequest{}, &reply);
        }));
        LocalBackends out{.backends = {},
                          .error = reply.error(),
                          .note_error = reply.note_error(),
                          .probes = reply.probes(),
                          .failed = reply.failed(),
                          .late = reply.late(),
                          .notes_sent = reply.notes_sent(),
                          .notes_heard = reply.notes_heard(),
                          .notes_refused = reply.notes_refused(),
                          .interval_ms = reply.interval_ms()};
        for (const auto& each : reply.backends()) {
            out.backends.push_back({each.pool(), each.nic(), each.node(), each.probe(),
                                    each.target(), each.state(), each.serving(), each.here(),
                                    each.reason(), each.took_us(), each.since_ms(), each.pool_id(),
                                    each.probe_id(), each.index()});
        }
        return out;
    }

    Result<Plumbed> plumb(const std::string& nic_id, const std::string& netns_path,
                          const std::string& ifname) override {
        return plumb(nic_id, netns_path, ifname, false);
    }
    Result<Plumbed> plumb_moving(const std::string& nic_id, const std::string& netns_path,
                                 const std::string& ifname) override {
        return plumb(nic_id, netns_path, ifname, true);
    }

    Result<Migration> migration(const std::string& nic_id) override {
        api::MigrationRequest request;
        request.set_nic_id(nic_id);
        api::MigrationReply reply;
        CULVERT_TRY_STATUS(call("ask how far the move is", [&](grpc::ClientContext& context) {
            return stub_->Migration(&context, request, &reply);
        }));
        return Migration{.where = where_of(reply.where()),
                         .gap_us = reply.gap_us(),
                         .flows = reply.flows(),
                         .refused = reply.refused(),
                         .error = reply.error()};
    }

    Result<Plumbed> plumb(const std::string& nic_id, const std::string& netns_path,
                          const std::string& ifname, bool move) {
        api::PlumbRequest request;
        request.set_move(move);
        request.set_nic_id(nic_id);
        request.set_netns(netns_path);
        request.set_ifname(ifname);
        return plumb(request);
    }

    Result<Plumbed> plumb_tap(const std::string& nic_id, const std::string& name,
                              std::optional<std::uint32_t> user) override {
        api::PlumbRequest request;
        request.set_nic_id(nic_id);
        request.mutable_tap()->set_name(name);
        if (user) {
            request.mutable_tap()->set_user(*user);
        }
        return plumb(request);
    }

    Result<Plumbed> plumb(api::PlumbRequest& request) {
        request.set_wait_ms(kPlumbWaitMs);
        api::PlumbReply reply;
        CULVERT_TRY_STATUS(call("make the interface", [&](grpc::ClientContext& context) {
            return stub_->Plumb(&context, request, &reply);
        }));
        return Plumbed{reply.host_ifname(), reply.mac(), reply.address(),
                       reply.gateway(),     reply.six(), reply.mtu()};
    }

    Result<bool> unplumb(const std::string& nic_id) override {
        api::UnplumbRequest request;
        request.set_nic_id(nic_id);
        api::UnplumbReply reply;
        CULVERT_TRY_STATUS(call("remove the interface", [&](grpc::ClientContext& context) {
            return stub_->Unplumb(&context, request, &reply);
        }));
        return reply.existed();
    }

    Status upgrade(const std::filesystem::path& binary, bool dry_run, bool force,
                   const std::function<void(const std::string&)>& step) override {
        api::UpgradeRequest request;
        request.set_binary(binary.string());
        request.set_dry_run(dry_run);
        request.set_force(force);
        const auto run = [&](grpc::ClientContext& context) {
            const auto steps = stub_->Upgrade(&context, request);
            for (api::UpgradeStep each; steps->Read(&each);) {
                step(each.text());
            }
            return steps->Finish();
        };
        return call("upgrade the agent", run, kUpgradeTimeout);
    }

    Result<std::string> log_level(const std::string& level) override {
        api::LogLevelRequest request;
        request.set_level(level);
        api::LogLevelReply reply;
        CULVERT_TRY_STATUS(call("log level", [&](grpc::ClientContext& context) {
            return stub_->LogLevel(&context, request, &reply);
        }));
        return reply.level();
    }

  private:
    template <typename F>
    Status call(std::string_view doing, F&& make, std::chrono::seconds patience = kCallTimeout) {
        grpc::ClientContext context;
        context.set_deadline(std::chrono::system_clock::now() + patience);
        const grpc::Status status = make(context);
        if (status.ok()) {
            return {};
        }
        if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
            return fail(
                Code::kUnavailable,
                fmt::format("{}: no agent answers at {}; is it running? `culvert up` starts it",
                            doing, socket_.string()));
        }
        return fail(code_of(status.error_code()),
                    fmt::format("{}: {}", doing, status.error_message()));
    }

    std::filesystem::path socket_;
    std::unique_ptr<api::Local::Stub> stub_;
};

}  // namespace

Result<std::unique_ptr<LocalAgent>> connect_agent(const std::filesystem::path& socket) {
    if (::access(socket.c_str(), R_OK | W_OK) != 0) {
        const int why = errno;
        if (why == ENOENT) {
            return fail(Code::kUnavailable,
                        fmt::format("no agent on this machine: {} does not exist; start one with "
                                    "`culvert up`, or name its directory with --data-dir",
                                    socket.string()),
                        "--data-dir");
        }
        return std::unexpected(
            error_from_errno(why, fmt::format("open {} (root only)", socket.string())));
    }
    return std::make_unique<GrpcAgent>(socket);
}

}  // namespace culvert::cli
