// SPDX-License-Identifier: Apache-2.0
// What nodes may send the control plane: streams that open and close, messages and garbage, in any
// order, from two nodes with valid certificates, one with an old certificate and one that is gone.
// Whatever they say, each is sent deltas of consecutive versions with its own configuration and
// no attachment of others, and nobody acknowledges more than was sent to it.
#include "base/assert.hpp"
#include "control/hub_core.hpp"
#include "control/hub_scene_test.hpp"

#include "api/intent.pb.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace culvert::control {
namespace {

using namespace std::chrono_literals;

store::KeyValue row(const std::pair<std::string, std::string>& document) {
    store::KeyValue out;
    std::tie(out.key, out.value) = document;
    return out;
}
store::KeyValue node(const std::string& name, std::uint32_t index) {
    return row(scene::node(name, index, name + "-serial"));
}
store::KeyValue nic(const std::string& name, std::uint32_t index) {
    return row(scene::nic(name, index));
}
store::KeyValue attachment(const std::string& nic, const std::string& node) {
    return row(scene::attachment(nic, node, "at-" + node));
}

struct Peer {
    const char* name;
    const char* serial;
    std::uint32_t index;  // 0: must never be told anything
};
constexpr Peer kPeers[] = {
    {"n1", "n1-serial", 1}, {"n2", "n2-serial", 2}, {"n1", "an old one", 0}, {"gone", "g", 0}};
constexpr std::size_t kStreams = 8, kMessageMost = 512;

// Reads what is sent and checks whom it is for.
class Outbox final : public Outlet {
  public:
    void send(StreamId stream, const std::string& bytes) override {
        const Peer& peer = *peers.at(stream);
        CULVERT_ASSERT(peer.index != 0);
        api::ControlMessage message;
        CULVERT_ASSERT(message.ParseFromString(bytes));
        if (!message.has_delta()) {
            return;
        }
        const auto& delta = message.delta();
        const auto last = versions.find(stream);
        CULVERT_ASSERT(last == versions.end() || delta.version() == last->second + 1 ||
                       (delta.snapshot() && delta.version() > last->second));
        versions[stream] = delta.version();
        sent[peer.name] = std::max(sent[peer.name], delta.version());
        for (const auto& object : delta.upsert()) {
            CULVERT_ASSERT(!object.has_config() || object.config().node() == peer.index);
            CULVERT_ASSERT(!object.has_nic() || object.nic().attachment().empty() ||
                           object.nic().attachment() == "at-" + std::string(peer.name));
        }
    }
    void read(StreamId) override {}
    void close(StreamId stream, const Error&) override { open.erase(stream); }

    std::map<StreamId, const Peer*> peers, open;
    std::map<StreamId, std::uint64_t> versions;
    std::map<std::string, std::uint64_t> sent;
};

class Scene {
  public:
    Scene() : clock_(WallTime{std::chrono::seconds(1'800'000'000)}) {
        core_.meter(&metering_);
        core_.load({node("n1", 1), node("n2", 2), row(scene::vnet()), nic("a", 5), nic("b", 6),
                    attachment("a", "n1"), attachment("b", "n2")},
                   10);
    }
    ~Scene() { core_.stop(); }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    void step(std::uint8_t op, std::uint8_t which, std::string_view bytes) {
        switch (op % 8) {
            case 0:
            case 1: open(kPeers[which % std::size(kPeers)]); break;
            case 2: write(which); break;
            case 3:
                clock_.advance(std::chrono::milliseconds(which * 20));
                core_.tick();
                break;
            default: say(pick(which), op, bytes); break;
        }
        if (const auto stream = pick(which); op % 8 == 7 && stream != 0) {
            core_.on_closed(stream);
            out_.open.erase(stream);
        }
        for (const NodeStatus& status : core_.status()) {
            CULVERT_ASSERT(status.acked <= out_.sent[status.name] || status.acked == 0);
            CULVERT_ASSERT(status.build.size() <= 256 && status.error.size() <= 256);
        }
    }

  private:
    StreamId pick(std::uint8_t which) const {
        if (out_.open.empty()) {
            return 0;
        }
        return std::next(out_.open.begin(), which % out_.open.size())->first;
    }
    void open(const Peer& peer) {
        if (out_.open.size() >= kStreams) {
            return;
        }
        const auto stream = next_++;
        out_.peers[stream] = &peer;
        out_.open[stream] = &peer;
        core_.on_opened(stream, {peer.name, peer.serial});
    }
    void say(StreamId stream, std::uint8_t op, std::string_view bytes) {
        if (stream == 0) {
            return;
        }
        api::AgentMessage message;
        if (op % 8 == 4) {
            message.mutable_hello()->set_node(out_.peers.at(stream)->name);
            message.mutable_hello()->set_epoch(bytes.empty() ? "" : "epoch");
            message.mutable_hello()->set_version(bytes.empty() ? 0 : std::uint8_t(bytes[0]));
        } else if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
            core_.on_garbage(stream);
            return;
        }
        core_.on_message(stream, message);
        core_.on_writable(stream);
    }
    // The store changes: the second NIC's network interface comes again, or a node goes.
    void write(std::uint8_t which) {
        store::WatchBatch batch;
        batch.revision = ++revision_;
        store::Event event;
        event.now = which % 2 == 0 ? nic("b", 6) : node("n2", 2);
        event.kind = which % 16 == 1 ? store::Event::Kind::kDelete : store::Event::Kind::kPut;
        batch.events.push_back(std::move(event));
        core_.on_batch(batch);
        core_.settle(revision_, [](bool) {});
    }

    ManualClock clock_;
    Outbox out_;
    HubCounters counters_;
    Metering metering_{clock_, {}};
    HubCore core_{{}, clock_, out_, counters_, "epoch"};
    StreamId next_ = 1;
    std::int64_t revision_ = 10;
};

}  // namespace
}  // namespace culvert::control

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    culvert::control::Scene scene;
    while (size >= 3) {
        const std::size_t length =
            std::min({std::size_t{data[2]} * 2, size - 3, culvert::control::kMessageMost});
        scene.step(data[0], data[1], {reinterpret_cast<const char*>(data) + 3, length});
        data += 3 + length;
        size -= 3 + length;
    }
    return 0;
}
