// SPDX-License-Identifier: Apache-2.0
#include "agent/run.hpp"

#include "agent/health_keeper.hpp"
#include "agent/idle_resets.hpp"
#include "agent/json_file.hpp"
#include "agent/local.hpp"
#include "agent/meter.hpp"
#include "agent/metrics.hpp"
#include "agent/node.hpp"
#include "agent/prober.hpp"
#include "agent/stream.hpp"
#include "agent/upgrade.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "runtime/notify.hpp"
#include "runtime/signals.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <csignal>
#include <optional>
#include <thread>

namespace culvert::agent {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kTendEvery = 1000ms;
constexpr auto kTendApart = 20ms;
constexpr mode_t kPrivate = 0600;
constexpr mode_t kPrivateDirectory = 0700;

// One agent a data directory.
Result<runtime::Fd> lock(const std::filesystem::path& data_dir) {
    const auto path = data_dir / "agent.lock";
    runtime::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kPrivate));
    if (!fd) {
        return std::unexpected(error_from_errno(errno, fmt::format("open {}", path.string())));
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::kConflict, fmt::format("lock {}: an agent is running", path.string()));
    }
    return fd;
}

// What purge must know of the last run.
struct Traces {
    std::filesystem::path pins;
    std::string backbone;
};

std::filesystem::path traces_file(const std::filesystem::path& data_dir) {
    return data_dir / "run.json";
}

Status save_traces(const std::filesystem::path& data_dir, const Traces& traces) {
    const json::object out{{"pins", traces.pins.string()}, {"backbone", traces.backbone}};
    return runtime::replace_file(traces_file(data_dir), json::serialize(out) + "\n", kPrivate);
}

Result<Traces> load_traces(const std::filesystem::path& data_dir) {
    return load_json_or(Traces{}, traces_file(data_dir), [](const json::object& from) {
        return Traces{.pins = std::string(from.at("pins").as_string()),
                      .backbone = std::string(from.at("backbone").as_string())};
    });
}

// Interfaces first: a pinned link holds its program.
Status take_down(const std::filesystem::path& data_dir, const Traces& traces) {
    auto netlink = datapath::Netlink::open();
    if (!netlink) {
        return std::unexpected(std::move(netlink.error()));
    }
    const auto links = (*netlink)->links();
    if (!links) {
        return std::unexpected(links.error());
    }
    for (const auto& link : *links) {
        if (link.alias == owner_of(data_dir)) {
            const auto removed = (*netlink)->remove_link(link.ifindex);
            if (!removed && removed.error().code != Code::kNotFound) {  // with its namespace
                return removed;
            }
        } else if (link.name == traces.backbone) {
            CULVERT_TRY_STATUS(datapath::detach_stub(traces.pins, link.ifindex));
        }
    }
    return datapath::remove_pins(traces.pins);
}

// What may come late, on a thread of its own until stopped.
void tend_until(Node& node, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const auto seen = node.bell().rings();
        node.tend();
        if (!stop.stop_requested()) {
            node.bell().wait_until(seen, std::chrono::steady_clock::now() + kTendEvery);
        }
        // a burst of deltas is one turn
        std::this_thread::sleep_for(kTendApart);
    }
}

// What remains on a draining node, on a thread of its own: neither heartbeats nor interfaces wait
// for a walk over the flow tables.
void count_until(Node& node, const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        const auto seen = node.bell().rings();
        const auto next = node.count_remaining(stop);
        if (!stop.stop_requested()) {
            node.bell().wait_until(seen, next);
        }
    }
}

}  // namespace

namespace {

HealthOptions health_options(const RunOptions& options, const std::filesystem::path& data_dir) {
    return {.interval = options.probe_interval,
            .alias_base = options.alias_base,
            .owner = owner_of(data_dir),
            .force_clsact = options.force_clsact};
}

NodeOptions node_options(const RunOptions& options, const std::filesystem::path& data_dir) {
    return {.data_dir = data_dir,
            .pin_dir = std::filesystem::absolute(options.pin_dir),
            .backbone = options.backbone,
            .udp_port = options.udp_port,
            .force_clsact = options.force_clsact,
            .flows = options.flows,
            .quotas = options.quotas,
            .idle_unit = options.idle_unit,
            .nat_drain = options.nat_drain};
}

// Nothing where it is not asked for.
Result<std::unique_ptr<metrics::Endpoint>> serve_metrics(const std::string& where,
                                                         const MetricSources& sources) {
    if (where.empty()) {
        return nullptr;
    }
    return metrics::serve(where, [sources](metrics::Page& page) { collect(sources, page); });
}

// One life of the agent within the process: until a signal (nothing), or until a program is to take
// over (that one). Errors: what kept it from starting.
Result<std::optional<Candidate>> serve(const RunOptions& options, const Identity& identity,
                                       const std::filesystem::path& data_dir, Upgrader& upgrader) {
    auto node = Node::open(node_options(options, data_dir), identity);
    if (!node) {
        return std::unexpected(node.error());
    }
    // as it was renewed, when this is not the process's first life
    const SystemClock clock;
    Renewal renewal(data_dir, load_identity(data_dir).value_or(identity), clock);
    SystemRandom random;
    const auto meter = Meter::start(**node, random);
    if (!meter) {
        return std::unexpected(meter.error());
    }
    const auto stream = Stream::start(**node, renewal, **meter, options.build);
    const auto prober = Prober::start(**node, options.liveness);
    if (!prober) {
        return std::unexpected(prober.error());
    }
    const auto health = HealthKeeper::start(**node, health_options(options, data_dir));
    if (!health) {
        return std::unexpected(health.error());
    }
    const auto idle_resets = IdleResets::start(**node);
    if (!idle_resets) {
        return std::unexpected(idle_resets.error());
    }
    upgrader.settle();
    const LocalSources asked{.stream = [&stream] { return stream->status(); },
                             .reach = [&prober] { return (*prober)->status(); },
                             .health = [&health] { return (*health)->status(); },
                             .totals = [&meter] { return (*meter)->read(); }};
    const auto local =
        Local::serve(**node, identity, asked, upgrader, data_dir / "agent.sock", options.build);
    if (!local) {
        return std::unexpected(local.error());
    }
    const MetricSources sources{**node,  *stream, **prober, **health,
                                **meter, renewal, clock,    *options.log};
    const auto metrics = serve_metrics(options.metrics, sources);
    if (!metrics) {
        return std::unexpected(metrics.error());
    }
    std::jthread tender([&](const std::stop_token& stop) { tend_until(**node, stop); });
    std::jthread counter([&](const std::stop_token& stop) { count_until(**node, stop); });
    spdlog::info("agent: running node={} data_dir={}", identity.name, data_dir.string());
    const auto look_every = runtime::watchdog_interval().value_or(3600s);
    runtime::notify("READY=1");
    std::optional<Candidate> next;
    for (bool stopped = false; !stopped && !next;) {
        const auto signal = runtime::wait_signal({SIGTERM, SIGINT, kUpgradeSignal}, look_every);
        stopped = signal && *signal != kUpgradeSignal;
        next = upgrader.requested();
        if (stopped) {
            next.reset();
        }
        (*node)->held();  // takes the node's lock: a hang there ends the watchdog's patience
        runtime::notify("WATCHDOG=1");
    }
    if (!next) {
        runtime::notify("STOPPING=1");
    }
    spdlog::info("agent: stopping; programs, maps and interfaces stay");
    tender.request_stop();
    counter.request_stop();
    (*node)->bell().ring();
    return next;
}

}  // namespace

Status run(const RunOptions& options) {
    Upgrader upgrader(options);
    CULVERT_TRY_STATUS(runtime::make_directory(options.data_dir, kPrivateDirectory));
    const auto data_dir = std::filesystem::absolute(options.data_dir);
    const auto locked = lock(data_dir);
    if (!locked) {
        return upgrader.go_back(locked.error());
    }
    runtime::remove_unfinished(data_dir);
    const auto identity = load_identity(data_dir);
    if (!identity) {
        return upgrader.go_back(identity.error());
    }
    const auto pins = std::filesystem::absolute(options.pin_dir);
    CULVERT_TRY_STATUS(save_traces(data_dir, {.pins = pins, .backbone = options.backbone}));
    while (true) {
        const auto ended = serve(options, *identity, data_dir, upgrader);
        if (!ended) {
            return upgrader.go_back(ended.error());
        }
        if (!*ended) {
            return {};
        }
        upgrader.hand_over(**ended);
    }
}

Status purge(const PurgeOptions& options) {
    const auto data_dir = std::filesystem::absolute(options.data_dir);
    if (!std::filesystem::exists(data_dir)) {
        return {};
    }
    const auto locked = lock(data_dir);
    if (!locked) {
        return std::unexpected(locked.error());
    }
    runtime::remove_unfinished(data_dir);
    auto traces = load_traces(data_dir);
    if (!traces) {
        return std::unexpected(std::move(traces.error()));
    }
    if (!options.pin_dir.empty()) {
        traces->pins = options.pin_dir;
    }
    if (!traces->pins.empty()) {
        CULVERT_TRY_STATUS(take_down(data_dir, *traces));
    }
    for (const char* name : {"intent.log", "interfaces.json", "conclusions.json", "nat.json",
                             "health.json", "moves", "run.json", "agent.sock"}) {
        std::error_code error;
        std::filesystem::remove_all(data_dir / name, error);
    }
    return {};
}

}  // namespace culvert::agent
