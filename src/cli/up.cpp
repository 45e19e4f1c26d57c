// SPDX-License-Identifier: Apache-2.0
#include "cli/installation.hpp"
#include "cli/local.hpp"
#include "cli/output.hpp"
#include "cli/session.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>
#include <boost/json.hpp>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>

namespace culvert::cli {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto kReadyWait = 20s;
constexpr auto kStopWait = 10s;
constexpr auto kPollEvery = 50ms;

// The processes of one `up`; what it started it also stops when something fails on the way.
// Neither copied nor moved.
class Machine {
  public:
    Machine(const Layout& layout, UpOptions options)
        : layout_(layout), options_(std::move(options)) {}
    ~Machine() {
        if (!keep_) {
            (void)stop_started();
        }
    }
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    Status start_control();
    Status join_agent();
    Status start_agent();
    // Waits for a signal or the end of a process. Returns the exit status.
    Result<int> attend();
    void keep() { keep_ = true; }
    bool first_start() const { return first_start_; }
    std::string control() const { return url_of(options_.listen); }
    const std::optional<AgentStatus>& agent() const { return agent_; }

  private:
    Result<ProcessId> start(const std::string& name, std::vector<std::string> argv);
    Status ended(const std::string& name, const ProcessId& process) const;
    Status stop_started();

    const Layout& layout_;
    UpOptions options_;
    std::optional<ProcessId> control_process_;
    std::optional<ProcessId> agent_process_;
    std::optional<AgentStatus> agent_;
    bool first_start_ = false;
    bool keep_ = false;
};

Result<ProcessId> Machine::start(const std::string& name, std::vector<std::string> argv) {
    SpawnOptions spawn_options{.argv = std::move(argv), .log = {}, .own_session = options_.detach};
    if (options_.detach) {
        spawn_options.log = layout_.log_of(name);
    }
    auto process = spawn(spawn_options);
    if (process) {
        if (auto noted = write_pid_file(layout_.pid_of(name), *process); !noted) {
            (void)stop(*process, kStopWait);
            return std::unexpected(noted.error());
        }
    }
    return process;
}

// Fails when the process is no longer there, with the end of its log.
Status Machine::ended(const std::string& name, const ProcessId& process) const {
    if (is_running(process)) {
        return {};
    }
    const auto tail = options_.detach ? tail_of(layout_.log_of(name), 8) : "";
    return fail(Code::kInternal,
                fmt::format("start {}: it ended{}{}", name,
                            options_.detach
                                ? fmt::format("; the end of {}:\n", layout_.log_of(name).string())
                                : "; its message stands above",
                            tail));
}

Status Machine::start_control() {
    auto program = find_program(kControlProcess);
    if (!program) {
        return std::unexpected(program.error());
    }
    // a restored store has its owner already, whose credentials somebody else keeps
    first_start_ = !std::filesystem::exists(layout_.bootstrap()) &&
                   !std::filesystem::exists(layout_.control() / "store.db");
    auto process = start(kControlProcess, control_arguments(program->string(), layout_, options_));
    if (!process) {
        return std::unexpected(process.error());
    }
    control_process_ = *process;
    json::object noted;
    noted["control"] = control();
    noted["intent_listen"] = options_.intent_listen;
    CULVERT_TRY_STATUS(write_private_file(layout_.installation(), json::serialize(noted) + "\n"));

    Error last;
    for (auto waited = 0ms; waited < kReadyWait; waited += kPollEvery) {
        CULVERT_TRY_STATUS(ended(kControlProcess, *control_process_));
        auto ca = read_file(layout_.ca());
        auto answer =
            ca ? metadata_of(control(), *ca) : Result<json::value>(std::unexpected(ca.error()));
        if (answer && (!first_start_ || std::filesystem::exists(layout_.bootstrap()))) {
            return {};
        }
        last = answer ? Error{Code::kNotFound, "no bootstrap credentials yet", {}, {}, {}}
                      : answer.error();
        std::this_thread::sleep_for(kPollEvery);
    }
    return fail(Code::kTimeout,
                fmt::format("start culvertd: not ready after {} s: {}",
                            std::chrono::seconds(kReadyWait).count(), last.message));
}

Status Machine::join_agent() {
    if (std::filesystem::exists(layout_.agent() / "node.json")) {
        return {};
    }
    auto program = find_program(kAgentProcess);
    if (!program) {
        return std::unexpected(program.error());
    }
    Settings here;
    here.data_dir = layout_.root;
    here.control = control();
    auto session = Session::open(here);
    if (!session) {
        return std::unexpected(session.error());
    }
    json::object body;
    body["name"] = options_.node;
    auto token = (*session)->call("POST", "/culvert/join-tokens", body);
    if (!token) {
        return std::unexpected(prefixed(token.error(), "join the agent"));
    }
    const auto* text = token->is_object() ? token->get_object().if_contains("token") : nullptr;
    if (text == nullptr || !text->is_string()) {
        return fail(Code::kInternal, "join the agent: the control plane gave no token");
    }
    ::setenv("CULVERT_JOIN_TOKEN", std::string(text->get_string()).c_str(), 1);
    auto status =
        run_to_end({.argv = join_arguments(program->string(), layout_, options_, control()),
                    .log = options_.detach ? layout_.log_of(kAgentProcess) : "",
                    .own_session = false});
    ::unsetenv("CULVERT_JOIN_TOKEN");
    if (!status) {
        return std::unexpected(status.error());
    }
    if (*status != 0) {
        return fail(Code::kInternal,
                    fmt::format("join the agent: culvert-agent join ended with {}:\n{}", *status,
                                options_.detach ? tail_of(layout_.log_of(kAgentProcess), 8) : ""));
    }
    return {};
}

Status Machine::start_agent() {
    auto program = find_program(kAgentProcess);
    if (!program) {
        return std::unexpected(program.error());
    }
    auto process = start(kAgentProcess, agent_arguments(program->string(), layout_, options_));
    if (!process) {
        return std::unexpected(process.error());
    }
    agent_process_ = *process;
    for (auto waited = 0ms; waited < kReadyWait; waited += kPollEvery) {
        CULVERT_TRY_STATUS(ended(kAgentProcess, *agent_process_));
        auto agent = connect_agent(agent_socket(layout_.root));
        auto status =
            agent ? (*agent)->status() : Result<AgentStatus>(std::unexpected(agent.error()));
        if (status && status->connected && status->version != 0) {
            agent_ = *status;
            return {};
        }
        std::this_thread::sleep_for(kPollEvery);
    }
    return fail(
        Code::kTimeout,
        fmt::format(
            "start culvert-agent: not connected to the control plane after {} s; its log says why",
            std::chrono::seconds(kReadyWait).count()));
}

Status Machine::stop_started() {
    Status outcome;
    if (agent_process_) {
        outcome = stop(*agent_process_, kStopWait);
        std::filesystem::remove(layout_.pid_of(kAgentProcess));
    }
    if (control_process_) {
        auto stopped = stop(*control_process_, kStopWait);
        std::filesystem::remove(layout_.pid_of(kControlProcess));
        outcome = outcome ? stopped : outcome;
    }
    agent_process_.reset();
    control_process_.reset();
    return outcome;
}

Result<int> Machine::attend() {
    sigset_t waited;
    sigemptyset(&waited);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
        sigaddset(&waited, signal);
    }
    for (;;) {
        const timespec patience{.tv_sec = 1, .tv_nsec = 0};
        const int signal = sigtimedwait(&waited, nullptr, &patience);
        if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) {
            fmt::print(
                "\nstopping; what is attached goes on carrying traffic (`culvert down --purge` "
                "ends that)\n");
            if (auto stopped = stop_started(); !stopped) {
                return std::unexpected(stopped.error());
            }
            return 0;
        }
        for (auto* process : {&control_process_, &agent_process_}) {
            if (!*process) {
                continue;
            }
            if (const auto status = exit_status(**process)) {
                const bool is_control = process == &control_process_;
                process->reset();
                (void)stop_started();
                if (*status == 0 || *status == 128 + SIGTERM) {  // `culvert down` from elsewhere
                    return 0;
                }
                return fail(Code::kInternal,
                            fmt::format("{} ended with {}; stopped the other too",
                                        is_control ? kControlProcess : kAgentProcess, *status));
            }
        }
    }
}

void block_signals() {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
        sigaddset(&blocked, signal);
    }
    sigprocmask(SIG_BLOCK, &blocked,
                nullptr);  // attend() takes them; children start with none blocked
}

json::value bootstrap_of(const Layout& layout) {
    auto text = read_file(layout.bootstrap());
    boost::system::error_code bad;
    auto parsed = text ? json::parse(*text, bad) : json::value(nullptr);
    return bad ? json::value(nullptr) : parsed;
}

std::string field(const json::value& document, json::string_view name) {
    const auto* found = document.is_object() ? document.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

void print_credentials(const Layout& layout) {
    const auto made = bootstrap_of(layout);
    fmt::print("\nThe first principal was made. This is shown once; {} keeps it (root only).\n",
               layout.bootstrap().string());
    print_fields({{"  tenant", field(made, "tenant")},
                  {"  subscription", field(made, "subscription")},
                  {"  client id", field(made, "client_id")},
                  {"  client secret", field(made, "client_secret")},
                  {"  user", field(made, "user")},
                  {"  password", field(made, "password")}});
}

void report(const Settings& settings, const Layout& layout, const Machine& machine, bool already,
            bool detached) {
    const auto ca = layout.ca().string();
    if (settings.json) {
        json::object out;
        out["state"] = already ? "already up" : "up";
        out["control"] = machine.control();
        out["ca"] = ca;
        out["dataDir"] = layout.root.string();
        out["bootstrapFile"] = layout.bootstrap().string();
        out["firstStart"] = machine.first_start();
        print_json(out);
        std::fflush(stdout);
        return;
    }
    const std::string dir_flag =
        layout.root == kDataDir ? "" : fmt::format(" --data-dir {}", layout.root.string());
    fmt::print("Culvert is {}up at {}  (CA: {})\n", already ? "already " : "", machine.control(),
               ca);
    if (machine.agent()) {
        fmt::print("agent: {}, {} programs, {}\n", machine.agent()->node,
                   machine.agent()->attach_mode, machine.agent()->health_note);
    }
    if (machine.first_start()) {
        print_credentials(layout);
    }
    fmt::print(
        "\nWhat to do next:\n  culvert{0} az-setup            the commands that make `az` talk to "
        "it\n"
        "  culvert{0} status              what runs here\n"
        "  culvert{0} attach --nic ID --netns NAME   give a workload its interface\n",
        dir_flag);
    fmt::print("{}\n", detached || already
                           ? fmt::format("  culvert{} down                stop it", dir_flag)
                           : "Ctrl-C stops both processes.");
    std::fflush(stdout);
}

Status prepare(const Layout& layout, UpOptions& options) {
    if (::geteuid() != 0) {
        return fail(Code::kPermissionDenied,
                    "up: the agent loads programs into the kernel; run it as root");
    }
    if (options.node.empty()) {
        options.node = host_name();
    }
    if (options.pin.empty() && layout.root != kDataDir) {
        options.pin = (layout.agent() / "pin").string();
    }
    if (options.outer.empty()) {
        auto outer = options.backbone == "none" ? Result<std::string>("127.0.0.1")
                                                : address_of(options.backbone);
        if (!outer) {
            return std::unexpected(outer.error());
        }
        options.outer = *outer;
    }
    std::error_code bad;
    for (const auto& folder :
         {layout.root, layout.control(), layout.agent(), layout.run(), layout.logs()}) {
        std::filesystem::create_directories(folder, bad);
        if (bad) {
            return std::unexpected(
                error_from_errno(bad.value(), fmt::format("make {}", folder.string())));
        }
        std::filesystem::permissions(folder, std::filesystem::perms::owner_all, bad);
    }
    return {};
}

}  // namespace

Result<int> run_up(const Settings& settings, const UpOptions& given) {
    const Layout layout{settings.data_dir};
    UpOptions options = given;
    CULVERT_TRY_STATUS(prepare(layout, options));
    InstallationLock lock;
    CULVERT_TRY_STATUS(lock.take(layout));

    Machine machine(layout, options);
    const bool control_runs = running_from(layout.pid_of(kControlProcess)).has_value();
    const bool agent_runs = running_from(layout.pid_of(kAgentProcess)).has_value();
    if (control_runs && agent_runs) {
        machine.keep();
        report(settings, layout, machine, true, true);
        return 0;
    }
    if (!options.detach && (control_runs || agent_runs)) {
        return fail(
            Code::kConflict,
            fmt::format("up: {} still runs here; `culvert down` first, or use --detach to start "
                        "only what is missing",
                        control_runs ? kControlProcess : kAgentProcess));
    }
    block_signals();
    if (!control_runs) {
        CULVERT_TRY_STATUS(machine.start_control());
    }
    if (!agent_runs) {
        CULVERT_TRY_STATUS(machine.join_agent());
        CULVERT_TRY_STATUS(machine.start_agent());
    }
    report(settings, layout, machine, false, options.detach);
    lock.release();
    if (options.detach) {
        machine.keep();
        return 0;
    }
    return machine.attend();
}

Result<int> run_down(const Settings& settings, const DownOptions& options) {
    const Layout layout{settings.data_dir};
    std::error_code bad;
    if (!std::filesystem::exists(layout.root, bad)) {
        return fail(Code::kNotFound,
                    fmt::format("down: no installation in {}; name its directory with --data-dir",
                                layout.root.string()),
                    "--data-dir");
    }
    InstallationLock lock;
    CULVERT_TRY_STATUS(lock.take(layout));
    json::array stopped;
    for (const auto* name : {kAgentProcess, kControlProcess}) {
        if (const auto process = running_from(layout.pid_of(name))) {
            CULVERT_TRY_STATUS(stop(*process, kStopWait));
            stopped.emplace_back(name);
        }
        std::filesystem::remove(layout.pid_of(name), bad);
    }
    if (options.purge) {
        auto program = find_program(kAgentProcess);
        if (!program) {
            return std::unexpected(program.error());
        }
        auto status =
            run_to_end({.argv = {program->string(), "purge", "--data-dir", layout.agent().string()},
                        .log = {},
                        .own_session = false});
        if (!status || *status != 0) {
            return fail(
                Code::kInternal,
                "down: culvert-agent purge failed; its message stands above; nothing of the "
                "data was removed");
        }
        for (const auto& path : {layout.control(), layout.agent(), layout.run(), layout.logs(),
                                 layout.bootstrap(), layout.installation(), layout.lock()}) {
            std::filesystem::remove_all(path, bad);
        }
        std::filesystem::remove(layout.root, bad);  // only when nothing else is in it
    }
    if (settings.json) {
        json::object out;
        out["stopped"] = stopped;
        out["purged"] = options.purge;
        print_json(out);
        return 0;
    }
    std::string names;
    for (const auto& name : stopped) {
        names += (names.empty() ? "" : " and ") + std::string(name.get_string());
    }
    fmt::print("{}\n", names.empty() ? "nothing was running" : "stopped " + names);
    fmt::print("{}\n", options.purge
                           ? "removed interfaces, programs and data"
                           : "what is attached goes on carrying traffic; --purge removes it all");
    return 0;
}

}  // namespace culvert::cli
