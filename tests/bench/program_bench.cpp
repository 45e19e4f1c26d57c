// SPDX-License-Identifier: Apache-2.0
// What the programs themselves cost (BPF_PROG_TEST_RUN, one packet a run, as Katran's own tester
// measures), by how much a node holds; and how fast a node takes endpoints in. Prints JSON, one
// figure a line; needs root.
#include "agent/applier.hpp"
#include "datapath/datapath.hpp"
#include "tests/packet/usual.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <arpa/inet.h>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <random>

namespace culvert::packet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kEndpoints = 100'000, kFirstLink = 100;
constexpr std::uint32_t kMany = 1'000'000, kEntries = 1U << 21;
constexpr std::uint32_t kWarm = 2'000;
constexpr std::uint16_t kFirstPort = 1000, kPorts = 20, kFirstSource = 2000;
constexpr std::uint32_t kSources = kMany / kPorts;
constexpr std::size_t kSourceAt = 34, kTargetAt = 36, kAddressAt = 30, kHeaderSumAt = 24;

struct Options {
    std::uint32_t runs = 200'000;
    int rounds = 5;
};

std::vector<std::uint32_t> take(std::uint32_t runs, const std::function<std::uint32_t()>& once) {
    std::vector<std::uint32_t> out;
    out.reserve(runs);
    for (std::uint32_t i = 0; i < runs; ++i) {
        out.push_back(once());
    }
    return out;
}

double mean(const std::vector<std::uint32_t>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
template <typename T>
T median(std::vector<T> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// A program that does nothing: what is measured of it is the harness.
class Floor {
  public:
    Floor() {
        const bpf_insn code[] = {
            {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
            {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
        fd_ =
            bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "floor", "GPL", code, std::size(code), nullptr);
    }
    ~Floor() { ::close(fd_); }
    Floor(const Floor&) = delete;
    Floor& operator=(const Floor&) = delete;

    std::uint32_t once(const Bytes& frame) const {
        bpf_test_run_opts options{};
        options.sz = sizeof(options);
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        return bpf_prog_test_run_opts(fd_, &options) == 0 ? options.duration : 0;
    }

  private:
    int fd_;
};

void put16(Bytes& frame, std::size_t at, std::uint32_t value) {
    frame[at] = static_cast<std::uint8_t>(value >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(value);
}

// Of the usual link, two backends more, eight NAT addresses, twenty ports by UDP.
void fill(World& world, std::uint32_t endpoints) {
    one_link(world);
    std::vector<std::uint32_t> nat, backends{kBackend, kSecondBackend};
    for (std::uint32_t i = 0; i < 8; ++i) {
        nat.push_back(ip(fmt::format("10.0.1.{}", 9 + i)));
        world.address(kProviderVnet, nat.back(), CV_ADDRESS_NAT, kService);
    }
    world.service(kService, kProviderVnet, nat);
    for (std::uint32_t index = 10; index < 14; ++index) {
        auto more = world.nic(kSecondBackend);
        more.address = ip(fmt::format("10.0.0.{}", index));
        world.nic(index, more);
        backends.push_back(index);
    }
    world.pool(kPool, backends);
    for (std::uint32_t index : backends) {
        world.begin_totals(0, index);
    }
    for (std::uint16_t port = kFirstPort; port < kFirstPort + kPorts; ++port) {
        world.rule(kService, port, kPool, kBackendPort, 6000, 5, IPPROTO_UDP);
    }
    cv_link link = world.link(kLink);
    for (std::uint32_t i = 0; i < endpoints; ++i) {
        link.endpoint = htonl(0x0a080000 + i);
        world.address(kConsumerVnet, link.endpoint, CV_ADDRESS_ENDPOINT, kFirstLink + i);
        world.link(kFirstLink + i, link);
    }
}

class Bench {
  public:
    explicit Bench(const Options& options) : options_(options) {}

    // Means of rounds, by case: the cases of a round one after the other. `part`: of the runs.
    void measure(const std::vector<std::pair<std::string, std::function<std::uint32_t()>>>& cases,
                 std::uint32_t part = 1) {
        std::map<std::string, std::vector<double>> means;
        for (const auto& [name, once] : cases) {
            take(kWarm, once);
        }
        for (int round = 0; round < options_.rounds; ++round) {
            for (const auto& [name, once] : cases) {
                const auto ran = take(options_.runs / part, once);
                means[name].push_back(mean(ran));
                p50_[name].push_back(median(ran));
            }
        }
        for (const auto& [name, once] : cases) {
            const auto& all = means[name];
            say(name, "ns", median(all), *std::ranges::min_element(all),
                *std::ranges::max_element(all), median(p50_[name]));
        }
    }
    static void say(const std::string& what, const char* unit, double middle, double least,
                    double most, double p50) {
        fmt::print(R"({{"what":"{}","unit":"{}","median":{:.1f},"min":{:.1f},"max":{:.1f},)"
                   R"("p50":{:.1f}}})"
                   "\n",
                   what, unit, middle, least, most, p50);
        std::fflush(stdout);
    }
    int rounds() const { return options_.rounds; }

  private:
    Options options_;
    std::map<std::string, std::vector<std::uint32_t>> p50_;
};

std::uint32_t sent(World& world, const Send& how, const Bytes& frame) {
    const auto out = world.send(how.hook, how.ifindex, frame);
    if (out.verdict != Verdict::Redirected) {
        fmt::print(stderr, "program_bench: not carried: {}\n", world.dropped());
        std::exit(1);
    }
    return out.ns;
}

void measure_hits(Bench& bench) {
    const Floor floor;
    const Bytes ack = request().bytes();
    World here(1024), there(1024), arriving_here(1024);
    one_link(here);
    open(here, kClientPort, kNatPort);
    backend_there(there);
    consumer_there(arriving_here);
    const auto out = consumer_sends(request());
    const auto back = backend_sends(answer());
    sent(there, out, request().syn().bytes());
    sent(there, backbone_brings(returning()), returning().syn_ack().bytes());
    const auto in = backbone_brings(arriving());
    sent(arriving_here, in, arriving().syn().bytes());
    sent(arriving_here, back, answer().syn_ack().bytes());
    const Bytes answered = answer().bytes(), carried = arriving().bytes(),
                returned = returning().bytes();
    bench.measure({
        {"floor: a program that returns at once", [&] { return floor.once(ack); }},
        {"same node, to the backend", [&] { return sent(here, out, ack); }},
        {"same node, to the consumer", [&] { return sent(here, back, answered); }},
        {"to another node", [&] { return sent(there, out, ack); }},
        {"from another node, to the backend", [&] { return sent(arriving_here, in, carried); }},
        {"from another node, to the consumer",
         [&] { return sent(there, backbone_brings(returning()), returned); }},
    });
}

// The datagram of connection `number`.
void aim(Bytes& frame, std::uint32_t number) {
    put16(frame, kSourceAt, kFirstSource + number % kSources);
    put16(frame, kTargetAt, kFirstPort + number / kSources);
}

void measure_many(Bench& bench) {
    World world(kEntries);
    fill(world, 0);
    const auto how = consumer_sends(
        from(kConsumer).ipv4(kClient, kEndpoint).udp(kFirstSource, kFirstPort).no_checksum());
    Bytes frame = how.packet.bytes();
    for (std::uint32_t number = 0; number < kMany; ++number) {
        aim(frame, number);
        sent(world, how, frame);
    }
    std::mt19937 random(1);
    const auto one = [&] {
        aim(frame, 7);
        return sent(world, how, frame);
    };
    const auto any = [&] {
        aim(frame, random() % kMany);
        return sent(world, how, frame);
    };
    bench.measure({{"datagram of one connection among 1,000,000", one},
                   {"datagram of any of 1,000,000 connections", any}});
}

// New connections, each from another port, to any of so many endpoints.
void measure_endpoints(Bench& bench, std::uint32_t endpoints) {
    World world(kEntries, {}, false, {}, kEndpoints + kFirstLink);
    fill(world, endpoints);
    const auto how = consumer_sends(request().syn());
    Bytes frame = how.packet.bytes();
    std::uint32_t next = 0;
    const auto fresh = [&] {
        const std::uint32_t which = next % endpoints;  // no two of them alike
        const std::uint32_t low = which & 0xffff, high = 0x0a08 + (which >> 16);
        put16(frame, kAddressAt, high);
        put16(frame, kAddressAt + 2, low);
        put16(frame, kHeaderSumAt, 0);
        std::uint32_t sum = 0;
        for (std::size_t at = 14; at < 34; at += 2) {
            sum += static_cast<std::uint32_t>(frame[at] << 8 | frame[at + 1]);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        put16(frame, kHeaderSumAt, ~(sum + (sum >> 16)) & 0xffff);
        put16(frame, kSourceAt, 1024 + next / endpoints % 60000);
        ++next;
        return sent(world, how, frame);
    };
    bench.measure({{fmt::format("new connection, {} endpoints", endpoints), fresh}}, 2);
}

// Deltas of a thousand endpoints each, as they come by the stream.
std::vector<std::string> endpoint_deltas() {
    std::vector<std::string> out;
    for (std::uint32_t i = 0; i < kEndpoints;) {
        api::Delta delta;
        delta.set_epoch("e");
        delta.set_version(out.size() + 1);
        delta.set_snapshot(out.empty());
        if (out.empty()) {
            auto* config = delta.add_upsert()->mutable_config();
            config->set_node(1);
            config->set_udp_port(kVxlanPort);
            config->set_nic_limit(64);
            config->set_link_limit(kEndpoints + 1);
        }
        for (const auto end = i + 1000; i < end; ++i) {
            auto* link = delta.add_upsert()->mutable_link();
            link->set_id(i + 1);
            link->set_generation(1);
            link->set_state(api::LINK_APPROVED);
            link->set_service(5);
            link->set_consumer_vnet(kConsumerVnet);
            link->set_provider_vnet(kProviderVnet);
            link->set_endpoint(0x0a080000 + i);
            link->set_endpoint_id(
                fmt::format("/subscriptions/s/resourceGroups/g/providers/"
                            "Microsoft.Network/privateEndpoints/pe{}",
                            i));
            auto* address = delta.add_upsert()->mutable_address();
            address->set_vnet(kConsumerVnet);
            address->set_address(0x0a080000 + i);
            address->set_kind(api::ADDRESS_ENDPOINT);
            address->set_id(i + 1);
        }
        out.push_back(delta.SerializeAsString());
    }
    return out;
}

Status take_in(agent::Applier& applier, agent::State& state, const std::string& bytes) {
    api::Delta delta;
    delta.ParseFromString(bytes);
    const auto plan = state.plan(delta);
    if (!plan) {
        return std::unexpected(plan.error());
    }
    for (const auto& change : plan->changes) {
        if (auto applied = applier.apply(change); !applied) {
            return applied;
        }
        state.commit(change);
    }
    state.conclude(*plan);
    return {};
}

// Endpoints a second, by a data plane of its own.
Result<double> take_in_all(const datapath::LoadOptions& options,
                           const std::vector<std::string>& deltas) {
    auto opened = datapath::Datapath::open(options);
    if (!opened) {
        return std::unexpected(std::move(opened.error()));
    }
    auto maps = datapath::Maps::open(**opened);
    if (!maps) {
        return std::unexpected(std::move(maps.error()));
    }
    const agent::Bindings bindings;
    agent::Applier applier(**maps, bindings, [](const auto& to) { return to; });
    agent::State state;
    const auto began = Clock::now();
    for (const std::string& bytes : deltas) {
        if (auto taken = take_in(applier, state, bytes); !taken) {
            return std::unexpected(std::move(taken.error()));
        }
    }
    return kEndpoints / std::chrono::duration<double>(Clock::now() - began).count();
}

void programming(Bench& bench) {
    datapath::LoadOptions options;
    options.pin_dir =
        std::filesystem::path("/sys/fs/bpf") / fmt::format("cvbench{}", ::getpid()) / "pin";
    options.sizes = {.nics = 64,
                     .links = kEndpoints + 1,
                     .flows = 1024,
                     .addresses = kEndpoints,
                     .services = 16,
                     .rules = 16,
                     .pools = 16,
                     .members = 16,
                     .prefixes = 16};
    const auto deltas = endpoint_deltas();
    std::vector<double> rates;
    for (int round = 0; round < bench.rounds(); ++round) {
        const auto rate = take_in_all(options, deltas);
        std::filesystem::remove_all(options.pin_dir.parent_path());
        if (!rate) {
            fmt::print(stderr, "program_bench: {}\n", rate.error().message);
            std::exit(1);
        }
        rates.push_back(*rate);
    }
    Bench::say("endpoints taken in by a node, from a delta's bytes to the maps", "1/s",
               median(rates), *std::ranges::min_element(rates), *std::ranges::max_element(rates),
               median(rates));
}

}  // namespace
}  // namespace culvert::packet

int main(int count, char** words) {
    using namespace culvert::packet;
    Options options;
    if (count > 1) {
        options.runs = static_cast<std::uint32_t>(std::strtoul(words[1], nullptr, 10));
    }
    if (count > 2) {
        options.rounds = std::atoi(words[2]);
    }
    if (count > 3 || options.runs == 0 || options.rounds <= 0 || ::geteuid() != 0) {
        fmt::print(stderr, "usage: program_bench [RUNS [ROUNDS]], as root\n");
        return 2;
    }
    Bench bench(options);
    measure_hits(bench);
    measure_many(bench);
    for (const std::uint32_t endpoints : {10U, kEndpoints}) {
        measure_endpoints(bench, endpoints);
    }
    programming(bench);
    return 0;
}
