// SPDX-License-Identifier: Apache-2.0
#include "agent/idle_resets.hpp"

#include "base/log.hpp"

#include <chrono>
#include <thread>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
constexpr auto kWait = 250ms;
// what ended while no agent ran may have begun anew since
constexpr std::chrono::nanoseconds kLatest = 5s;

class ThreadedIdleResets final : public IdleResets {
  public:
    ThreadedIdleResets(Node& node, std::unique_ptr<datapath::Ended> ended)
        : node_(node), ended_(std::move(ended)) {
        thread_ = std::jthread([this](const std::stop_token& stop) { work(stop); });
    }

  private:
    void work(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const auto flows = ended_->take(kWait);
            if (!flows) {
                spdlog::error("agent: {}", flows.error().message);
                std::this_thread::sleep_for(kWait);
                continue;
            }
            const auto now = datapath::kernel_now();
            std::vector<Connection> connections;
            for (const datapath::EndedFlow& flow : *flows) {
                const auto connection = read_connection(flow.copy, now);
                if (connection && now - flow.when < kLatest) {
                    connections.push_back(*connection);
                }
            }
            if (!connections.empty()) {
                node_.reset_ends(connections);
            }
        }
    }

    Node& node_;
    std::unique_ptr<datapath::Ended> ended_;
    std::jthread thread_;
};

}  // namespace

Result<std::unique_ptr<IdleResets>> IdleResets::start(Node& node) {
    auto ended = datapath::Ended::open(node.datapath());
    if (!ended) {
        return std::unexpected(std::move(ended.error()));
    }
    return std::make_unique<ThreadedIdleResets>(node, std::move(*ended));
}

}  // namespace culvert::agent
