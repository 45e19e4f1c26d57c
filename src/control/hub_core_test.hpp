// SPDX-License-Identifier: Apache-2.0
// A hub core on a manual clock, with a wire that remembers: a VNet with NICs web (attached on n1)
// and app, nodes n1 and n2.
#pragma once

#include "api/intent.pb.h"
#include "control/hub_core.hpp"
#include "control/hub_scene_test.hpp"

#include <gtest/gtest.h>

#include <deque>

namespace culvert::control {

// Remembers what the core sends; a stream is backed up until writable() is called.
class Wire final : public Outlet {
  public:
    void send(StreamId stream, const std::string& bytes) override {
        api::ControlMessage message;
        ASSERT_TRUE(message.ParseFromString(bytes));
        sent[stream].push_back(message);
        EXPECT_LE(++writing[stream], 1) << "a second write before the first was done";
    }
    void read(StreamId stream) override { ++reads[stream]; }
    void close(StreamId stream, const Error& why) override { closed[stream] = why.code; }

    std::map<StreamId, std::deque<api::ControlMessage>> sent;
    std::map<StreamId, int> writing;
    std::map<StreamId, int> reads;
    std::map<StreamId, Code> closed;
};

// Remembers what the core wants written.
class Desk final : public Registrar {
  public:
    void renew(StreamId stream, const StreamIdentity& who, const std::string& csr) override {
        renewals.push_back({stream, who.node, csr});
    }
    void confirm(const StreamIdentity& who) override { confirmed.push_back(who.serial); }
    void adopt(StreamId, const StreamIdentity& who) override { adopted.push_back(who.serial); }
    void note_holdings(const std::string& node, const std::string& digest) override {
        holdings[node] = digest;
    }
    void erase_holdings(StreamId stream, const std::string& node) override {
        erased.emplace_back(stream, node);
    }

    struct Wish {
        StreamId stream;
        std::string node;
        std::string csr;
    };
    std::vector<Wish> renewals;
    std::vector<std::string> confirmed;
    std::vector<std::string> adopted;
    std::map<std::string, std::string> holdings;
    std::vector<std::pair<StreamId, std::string>> erased;
    bool erases = true;  // at once
};

class HubCoreTest : public testing::Test {
  protected:
    void SetUp() override {
        load({scene::vnet(), scene::nic("web", 1), scene::nic("app", 2), scene::node("n1", 1, "s1"),
              scene::node("n2", 2, "s2"), scene::attachment("web", "n1")});
    }

    static store::KeyValue row(const std::pair<std::string, std::string>& document) {
        store::KeyValue kv;
        kv.key = document.first;
        kv.value = document.second;
        return kv;
    }
    void load(const std::vector<std::pair<std::string, std::string>>& documents) {
        std::vector<store::KeyValue> rows;
        for (const auto& document : documents) {
            rows.push_back(row(document));
        }
        core.load(rows, revision);
    }
    void put(const std::vector<std::pair<std::string, std::string>>& documents) {
        store::WatchBatch batch;
        batch.revision = ++revision;
        for (const auto& document : documents) {
            batch.events.push_back(
                {.kind = store::Event::Kind::kPut, .now = row(document), .before = {}});
        }
        core.on_batch(batch);
    }
    void erase(const std::string& key) {
        store::WatchBatch batch;
        batch.revision = ++revision;
        batch.events.push_back(
            {.kind = store::Event::Kind::kDelete, .now = row({key, ""}), .before = {}});
        core.on_batch(batch);
    }
    // Erases a document and gives something up in the same transaction.
    void give_up(const std::string& key, const std::string& release) {
        store::WatchBatch batch;
        batch.revision = ++revision;
        batch.events.push_back(
            {.kind = store::Event::Kind::kDelete, .now = row({key, ""}), .before = {}});
        batch.events.push_back({.kind = store::Event::Kind::kPut,
                                .now = row({"/released/" + release, "x"}),
                                .before = {}});
        core.on_batch(batch);
    }
    void hello(StreamId stream, const std::string& node, const std::string& serial,
               const std::string& epoch = "", std::uint64_t version = 0) {
        core.on_opened(stream, {node, serial});
        say_hello(stream, node, epoch, version);
    }
    void say_hello(StreamId stream, const std::string& node, const std::string& epoch = "",
                   std::uint64_t version = 0) {
        api::AgentMessage message;
        message.mutable_hello()->set_node(node);
        message.mutable_hello()->set_epoch(epoch);
        message.mutable_hello()->set_version(version);
        core.on_message(stream, message);
        if (desk.erases && !desk.erased.empty()) {
            core.on_holdings_erased(std::exchange(desk.erased, {}).back().first, true);
        }
    }
    void ack(StreamId stream, std::uint64_t version, const std::string& error = "") {
        api::AgentMessage message;
        message.mutable_ack()->set_version(version);
        message.mutable_ack()->set_error(error);
        core.on_message(stream, message);
    }
    void renew(StreamId stream, const std::string& csr) {
        api::AgentMessage message;
        message.mutable_renew()->set_csr(csr);
        core.on_message(stream, message);
    }
    // The answer to a renewal, which must be there.
    api::Issued issued(StreamId stream) {
        drain(stream);
        api::Issued found;
        for (const api::ControlMessage& message : std::exchange(wire.sent[stream], {})) {
            if (message.has_issued()) {
                found = message.issued();
            }
        }
        EXPECT_FALSE(found.certificate().empty() && found.error().empty());
        return found;
    }
    void heartbeat(StreamId stream) {
        api::AgentMessage message;
        message.mutable_heartbeat();
        core.on_message(stream, message);
    }
    // The stream takes everything the core has for it.
    void drain(StreamId stream) {
        while (wire.writing[stream] > 0) {
            wire.writing[stream] = 0;
            core.on_writable(stream);
        }
    }
    std::vector<api::Delta> deltas(StreamId stream) {
        drain(stream);
        std::vector<api::Delta> found;
        for (const api::ControlMessage& message : std::exchange(wire.sent[stream], {})) {
            if (message.has_delta()) {
                found.push_back(message.delta());
            }
        }
        return found;
    }
    void pass(std::chrono::milliseconds time) {
        for (auto left = time; left.count() > 0; left -= std::chrono::milliseconds(250)) {
            clock.advance(std::min(left, std::chrono::milliseconds(250)));
            core.tick();
        }
    }
    // "waiting", "true" or "false"
    std::string& settle(std::int64_t at) {
        answers.emplace_back("waiting");
        std::string& answer = answers.back();
        core.settle(at, [&answer](bool settled) { answer = settled ? "true" : "false"; });
        return answer;
    }

    ManualClock clock{WallTime(std::chrono::seconds(1'700'000'000))};
    Wire wire;
    HubCounters counters;
    std::vector<std::string> over;  // releases, as they ended
    Desk desk;
    HubCore core{intent::Options{},
                 clock,
                 wire,
                 counters,
                 "e1",
                 [this](const std::string& key) { over.push_back(key); },
                 &desk};
    std::int64_t revision = 10;
    std::deque<std::string> answers;
};

}  // namespace culvert::control
