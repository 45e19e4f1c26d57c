// SPDX-License-Identifier: Apache-2.0
// culvertd: the control plane. Reads its flags, wires the parts, runs until SIGTERM or SIGINT.
// Exit codes: 0 stopped by a signal, 1 something failed, 2 the store is damaged or of a newer
// version.
#include "apps/offline.hpp"
#include "base/limits.hpp"
#include "base/log_control.hpp"
#include "control/audit.hpp"
#include "control/authority_handlers.hpp"
#include "control/backup.hpp"
#include "control/certificates.hpp"
#include "control/front.hpp"
#include "control/front_platform.hpp"
#include "control/hub.hpp"
#include "control/installation_handlers.hpp"
#include "control/keys.hpp"
#include "control/metric_handlers.hpp"
#include "control/metrics.hpp"
#include "control/node_handlers.hpp"
#include "control/operations.hpp"
#include "http/server.hpp"
#include "metrics/metrics.hpp"
#include "runtime/runtime.hpp"
#include "store/measured.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <map>
#include <thread>

namespace culvert {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr const char* kVersion = "0.1.0";
constexpr const char* kMetering = "metering";  // folder of the data directory
constexpr auto kRenewEvery = std::chrono::hours(1);
constexpr int kLooksPerLife = 20;
constexpr std::uint64_t kShortestLife = 10;
constexpr std::uint64_t kLongestLife = std::uint64_t{3650} * 86400;
constexpr unsigned kStopGraceMs = 5000;
constexpr int kExitCorrupt = 2;

struct Flags {
    std::string data_dir = "/var/lib/culvert/control";
    std::string listen = "127.0.0.1:8443";
    std::string intent_listen = "127.0.0.1:8444";
    std::vector<std::string> advertise;
    std::string region = "local";
    std::string tls_cert;
    std::string tls_key;
    std::string store = "sqlite";
    std::uint32_t nic_limit = 262144;
    std::uint32_t link_limit = 262144;
    std::uint16_t vxlan_port = 4789;
    unsigned threads = 0;
    std::uint64_t node_life = std::chrono::seconds(limits::kNodeCertificateLife).count();
    std::uint64_t server_life = std::chrono::seconds(limits::kServerCertificateLife).count();
    std::string metrics;
    std::uint64_t drain = 0;
    std::string log_level = "info";
    std::string print_bootstrap;
};

// A time with a unit: s, m, h or d.
void declare_life(CLI::App& app, const char* name, std::uint64_t& seconds, const char* whose) {
    static const std::map<std::string, std::uint64_t> kUnits{
        {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    app.add_option(name, seconds, fmt::format("life {}, such as 90d or 12h", whose))
        ->transform(CLI::AsNumberWithUnit(kUnits) &
                    CLI::Range(kShortestLife, kLongestLife).description(""))
        ->type_name("TIME");
}

void declare(CLI::App& app, Flags& flags) {
    app.set_version_flag("--version", std::string("culvertd ") + kVersion);
    app.add_option("--data-dir", flags.data_dir, "store, certificate authority and keys")
        ->capture_default_str();
    app.add_option("--listen", flags.listen, "ADDRESS:PORT of the API")->capture_default_str();
    app.add_option("--intent-listen", flags.intent_listen, "ADDRESS:PORT for the nodes' agents")
        ->capture_default_str();
    app.add_option("--advertise", flags.advertise,
                   "further names and addresses for the server certificate")
        ->delimiter(',');
    app.add_option("--region", flags.region, "the name of the one location")->capture_default_str();
    auto* cert = app.add_option("--tls-cert", flags.tls_cert, "PEM chain to use for the API");
    auto* key = app.add_option("--tls-key", flags.tls_key, "its private key, PEM");
    cert->needs(key);
    key->needs(cert);
    app.add_option("--store", flags.store, "sqlite, or memory: lost at the end")
        ->check(CLI::IsMember({"sqlite", "memory"}))
        ->capture_default_str();
    app.add_option("--nic-limit", flags.nic_limit, "network interfaces, all together")
        ->check(CLI::Range(16U, 4U << 20))
        ->capture_default_str();
    app.add_option("--link-limit", flags.link_limit, "private endpoint connections, all together")
        ->check(CLI::Range(16U, 8U << 20))
        ->capture_default_str();
    app.add_option("--vxlan-port", flags.vxlan_port, "UDP port between the nodes")
        ->capture_default_str();
    app.add_option("--threads", flags.threads, "threads of the API; 0: one a processor, at least 2")
        ->check(CLI::Range(0U, 64U));
    declare_life(app, "--node-certificate-life", flags.node_life, "of the nodes' certificates");
    declare_life(app, "--server-certificate-life", flags.server_life, "of its own certificate");
    app.add_option("--metrics", flags.metrics, "serve Prometheus metrics on ADDRESS:PORT");
    app.add_option("--drain", flags.drain,
                   "seconds between /readyz saying no and the end, when told to stop")
        ->check(CLI::Range(0U, 600U))
        ->capture_default_str();
    app.add_option("--log-level", flags.log_level, "trace, debug, info, warn, error or off")
        ->capture_default_str();
    app.add_option("--print-bootstrap", flags.print_bootstrap,
                   "file (0600) for the first owner's credentials, instead of standard output");
}

struct Address {
    std::string host;
    std::uint16_t port = 0;
};

// HOST:PORT, an IPv6 host in brackets.
Result<Address> parse_address(const std::string& text, const char* flag) {
    const auto colon = text.rfind(':');
    Address out;
    if (colon != text.npos) {
        out.host = text.substr(0, colon);
        const std::string port = text.substr(colon + 1);
        const bool digits =
            !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == port.npos;
        const unsigned long number = digits ? std::stoul(port) : 65536;
        if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') {
            out.host = out.host.substr(1, out.host.size() - 2);
        }
        if (number <= 65535 && !out.host.empty()) {
            out.port = static_cast<std::uint16_t>(number);
            return out;
        }
    }
    return fail(Code::kInvalidArgument, fmt::format("{} '{}' is not ADDRESS:PORT", flag, text));
}

// Loopback, this host, the listen address when it is one, and what --advertise adds.
std::vector<std::string> certificate_names(const Flags& flags, const Address& listen,
                                           const Address& intent) {
    std::vector<std::string> names{"localhost", "127.0.0.1", "::1"};
    const auto add = [&](const std::string& name) {
        if (!name.empty() && std::ranges::find(names, name) == names.end()) {
            names.push_back(name);
        }
    };
    std::array<char, 256> host{};
    if (gethostname(host.data(), host.size() - 1) == 0) {
        const std::string name = model::lower(host.data());
        add(control::is_node_name(name) ? name : "");
    }
    for (const Address& at : {listen, intent}) {
        add(at.host == "0.0.0.0" || at.host == "::" ? "" : at.host);
    }
    for (const auto& name : flags.advertise) {
        add(model::lower(name));
    }
    return names;
}

// Shown once, on the first start only.
Status hand_out(const control::Bootstrap& made, const std::string& file) {
    if (!file.empty()) {
        const boost::json::object out{{"tenant", made.tenant},
                                      {"subscription", made.subscription},
                                      {"client_id", made.client_id},
                                      {"client_secret", made.client_secret},
                                      {"user", made.user},
                                      {"password", made.password},
                                      {"object_id", made.client_object_id}};
        CULVERT_TRY_STATUS(runtime::replace_file(file, boost::json::serialize(out) + "\n", 0600));
        spdlog::info("culvertd: first start: the owner's credentials are in {}", file);
        return {};
    }
    fmt::print(
        "First start. These credentials are shown once and cannot be shown again:\n"
        "  tenant        {}\n  subscription  {}\n  client id     {}\n  client secret {}\n"
        "  user          {}\n  password      {}\n",
        made.tenant, made.subscription, made.client_id, made.client_secret, made.user,
        made.password);
    std::fflush(stdout);
    return {};
}

Result<std::unique_ptr<store::Store>> open_store(const Flags& flags) {
    if (flags.store == "memory") {
        return store::open_memory();
    }
    return store::open_sqlite((fs::path(flags.data_dir) / "store.db").string());
}

// The parts, in the order in which they are made.
struct Parts {
    Parts() = default;
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;
    // INVARIANT: whoever may still answer a request (server, slow lane, hub) ends before the front
    // that answers go through.
    ~Parts() {
        metrics.reset();
        if (server) {
            server->stop(kStopGraceMs);
        }
        lane.reset();
        backups.reset();
        hub.reset();
    }

    SystemClock clock;
    SystemRandom random;
    LogCounts log;
    std::atomic<bool> stopping{false};
    std::vector<std::string> names;  // of the server certificate
    store::StoreTimes store_times;
    std::unique_ptr<store::Store> store;
    std::unique_ptr<control::AuditedStore> audited;  // what requests write to
    std::unique_ptr<control::CertificateAuthority> authority;
    control::KeyPair server_pair;
    std::unique_ptr<control::Identity> identity;
    std::unique_ptr<control::SlowLane> lane;
    std::unique_ptr<control::Backups> backups;
    std::unique_ptr<control::SignIn> sign_in;
    std::unique_ptr<control::Metering> metering;
    std::unique_ptr<control::Hub> hub;
    std::unique_ptr<control::Services> services;
    control::Registry registry;
    std::unique_ptr<control::Front> front;
    std::unique_ptr<http::Server> server;
    Guarded<std::map<std::string, WallTime>> certificates;  // names and ends
    std::unique_ptr<metrics::Endpoint> metrics;
};

// The certificate for the API: one's own, or the authority's.
Result<control::KeyPair> api_pair(const Flags& flags, const control::KeyPair& own) {
    if (flags.tls_cert.empty()) {
        return own;
    }
    auto certificate = runtime::read_file(flags.tls_cert);
    auto key = runtime::read_file(flags.tls_key);
    if (!certificate || !key) {
        return std::unexpected(!certificate ? certificate.error() : key.error());
    }
    return control::KeyPair{std::move(*certificate), std::move(*key)};
}

Status open_state(Parts& parts, const Flags& flags) {
    CULVERT_TRY_STATUS(runtime::make_directory(flags.data_dir, 0700));
    auto store = open_store(flags);
    if (!store) {
        return std::unexpected(store.error());
    }
    // the store's lock is ours: nobody else writes there
    runtime::remove_unfinished(flags.data_dir);
    runtime::remove_unfinished(fs::path(flags.data_dir) / kMetering);
    parts.store = store::measured(std::move(*store), parts.store_times);
    parts.audited =
        std::make_unique<control::AuditedStore>(*parts.store, parts.clock, parts.random);
    auto authority =
        control::CertificateAuthority::open(flags.data_dir, parts.clock.wall(), parts.random,
                                            {.node = std::chrono::seconds(flags.node_life),
                                             .server = std::chrono::seconds(flags.server_life)});
    if (!authority) {
        return std::unexpected(authority.error());
    }
    parts.authority = std::move(*authority);
    auto pair = parts.authority->server_certificate(parts.names, parts.clock.wall());
    if (!pair) {
        return std::unexpected(pair.error());
    }
    parts.server_pair = std::move(*pair);
    auto identity = control::Identity::open(*parts.audited, parts.clock, parts.random);
    if (!identity) {
        return std::unexpected(identity.error());
    }
    parts.identity = std::move(*identity);
    auto made = parts.identity->bootstrap();
    if (!made) {
        return std::unexpected(made.error());
    }
    return *made ? hand_out(**made, flags.print_bootstrap) : Status{};
}

Status start_hub(Parts& parts, const Flags& flags) {
    const bool kept = flags.store != "memory";
    parts.metering = std::make_unique<control::Metering>(
        parts.clock, kept ? fs::path(flags.data_dir) / kMetering : fs::path());
    control::HubOptions options;
    options.metering = parts.metering.get();
    options.listen = flags.intent_listen;
    options.certificate_pem = parts.server_pair.certificate_pem;
    options.key_pem = parts.server_pair.key_pem;
    options.ca_pem = parts.authority->trust_pem();
    options.issue = [&parts](const std::string& csr, const std::string& name) {
        return parts.authority->issue_node_certificate(csr, name, parts.clock.wall());
    };
    options.intent = {flags.vxlan_port, flags.nic_limit, flags.link_limit};
    auto hub = control::Hub::start(std::move(options), *parts.audited, parts.clock, parts.random);
    if (!hub) {
        return std::unexpected(hub.error());
    }
    parts.hub = std::move(*hub);
    return {};
}

Status renew(Parts& parts, const Flags& flags);

void add_handlers(Parts& parts, const Flags& flags, const Address& intent) {
    auto& registry = parts.registry;
    auto& services = *parts.services;
    control::add_platform_handlers(registry, services, *parts.identity);
    control::add_identity_handlers(registry, *parts.identity, *parts.lane);
    control::add_role_handlers(registry, *parts.identity);
    control::add_group_handlers(registry, services);
    control::add_network_handlers(registry, services);
    control::add_balancer_handlers(registry, services);
    control::add_link_service_handlers(registry, services);
    control::add_endpoint_handlers(registry, services);
    control::add_operation_handlers(registry, services);
    control::add_attach_handlers(registry, services);
    control::add_audit_handlers(registry, services, *parts.identity);
    control::add_store_handlers(registry, services, *parts.backups);
    control::add_log_handlers(registry);
    control::add_metric_handlers(registry, services, *parts.metering);
    control::add_authority_handlers(registry, {.authority = *parts.authority,
                                               .hub = *parts.hub,
                                               .clock = parts.clock,
                                               .apply = [&] { return renew(parts, flags); }});
    const bool any = intent.host == "0.0.0.0" || intent.host == "::";
    control::add_node_handlers(registry, services, *parts.hub,
                               {.issue =
                                    [&parts](const std::string& csr, const std::string& name) {
                                        return parts.authority->issue_node_certificate(
                                            csr, name, parts.clock.wall());
                                    },
                                .ca_pem = [&parts] { return parts.authority->trust_pem(); },
                                .intent_host = any ? "" : intent.host,
                                .intent_port = parts.hub->port()});
}

// Serving, able to read its store and, as far as one can tell, to write to it, and not on its way
// out: empty. Else what to say to strangers.
std::string unready(Parts& parts) {
    if (parts.stopping || !parts.store->get(control::keys::kHomeTenant)) {
        return "not ready";
    }
    const Status writable = parts.store->writable();
    return writable ? ""
           : writable.error().code == Code::kStorageFull
               ? "not ready: the disk of the store is full"
               : "not ready: the disk of the store has failed";
}

// When the certificates in use end, for the metrics.
void note_ends(Parts& parts, const control::KeyPair& own, const control::KeyPair& api) {
    const std::string authority = parts.authority->certificate_pem();
    for (const auto& [name, pem] : {std::pair{"authority", &authority},
                                    {"nodes", &own.certificate_pem},
                                    {"api", &api.certificate_pem}}) {
        if (const auto until = control::certificate_until(*pem)) {
            parts.certificates.with([&](auto& all) { all[name] = *until; });
        }
    }
}

Status serve_metrics(Parts& parts, const Flags& flags) {
    if (flags.metrics.empty()) {
        return {};
    }
    auto sources = std::make_shared<const control::MetricSources>(control::MetricSources{
        .clock = parts.clock,
        .requests = parts.front->stats(),
        .store = parts.store_times,
        .hub = *parts.hub,
        .metering = *parts.metering,
        .server = *parts.server,
        .log = parts.log,
        .certificates =
            [&parts] {
                return parts.certificates.with([](const auto& all) {
                    return std::vector<std::pair<std::string, WallTime>>(all.begin(), all.end());
                });
            },
        .ready = [&parts] { return unready(parts).empty(); }});
    auto served = metrics::serve(
        flags.metrics, [sources](metrics::Page& page) { control::collect(*sources, page); });
    if (!served) {
        return std::unexpected(served.error());
    }
    parts.metrics = std::move(*served);
    return {};
}

Status start_api(Parts& parts, const Flags& flags, const Address& listen, const Address& intent) {
    parts.lane = std::make_unique<control::SlowLane>();
    parts.backups = std::make_unique<control::Backups>(*parts.store, parts.clock, flags.data_dir);
    const auto note = [&audited = *parts.audited](const std::string& tenant, auto record) {
        audited.note(tenant, std::move(record));
    };
    parts.sign_in = std::make_unique<control::SignIn>(
        *parts.identity, *parts.lane,
        [note](const std::string& tenant, const std::string& name, const std::string& peer) {
            note(tenant, boost::json::object{{"operation", "signIn"},
                                             {"resource", "/culvert/sign-in"},
                                             {"status", "Failed"},
                                             {"caller", {{"id", ""}, {"name", name}}},
                                             {"from", peer}});
        });
    parts.services = std::make_unique<control::Services>(control::Services{
        .store = *parts.audited,
        .clock = parts.clock,
        .random = parts.random,
        .authorize = [&identity = *parts.identity](const auto& caller, std::string_view permission,
                                                   const auto& scope) -> Result<bool> {
            return identity.authorize(caller, permission, scope);
        },
        .settle = [&hub = *parts.hub](std::int64_t revision,
                                      auto done) { hub.settle(revision, std::move(done)); },
        .note = note,
        .region = flags.region,
        .nic_limit = flags.nic_limit,
        .link_limit = flags.link_limit,
        .restore_number = parts.hub->restore_number(),
        .numbers_are_known = [&hub = *parts.hub] { return hub.numbers_are_known(); }});
    add_handlers(parts, flags, intent);
    parts.front =
        std::make_unique<control::Front>(parts.registry, *parts.services, *parts.identity,
                                         *parts.sign_in, [&parts] { return unready(parts); });
    auto pair = api_pair(flags, parts.server_pair);
    if (!pair) {
        return std::unexpected(pair.error());
    }
    note_ends(parts, parts.server_pair, *pair);
    http::ServerOptions options;
    options.address = listen.host;
    options.port = listen.port;
    options.certificate_pem = std::move(pair->certificate_pem);
    options.key_pem = std::move(pair->key_pem);
    options.threads =
        flags.threads != 0 ? flags.threads : std::max(2U, std::thread::hardware_concurrency());
    options.refused = [front = parts.front.get()](http::Response& r) { front->refused(r); };
    auto server = http::serve(options, [front = parts.front.get()](const http::Request& request,
                                                                   const http::Respond& respond) {
        front->handle(request, respond);
    });
    if (!server) {
        return std::unexpected(server.error());
    }
    parts.server = std::move(*server);
    return {};
}

// Puts a new certificate in place when the old one nears its end, or when the files of --tls-cert
// have changed.
Status renew(Parts& parts, const Flags& flags) {
    auto own = parts.authority->server_certificate(parts.names, parts.clock.wall());
    auto pair = own ? api_pair(flags, *own) : own;
    auto replaced = pair ? parts.server->replace_certificate(pair->certificate_pem, pair->key_pem)
                         : Status(std::unexpected(pair.error()));
    if (replaced && own) {
        replaced = parts.hub->replace_certificate(own->certificate_pem, own->key_pem,
                                                  parts.authority->trust_pem());
    }
    if (!replaced) {
        return std::unexpected(prefixed(replaced.error(), "renew the server certificate"));
    }
    note_ends(parts, *own, *pair);
    return {};
}

// Renews certificates, and tells the service manager that all is well.
void serve_until_signal(Parts& parts, const Flags& flags) {
    const auto renew_every = std::min<std::chrono::milliseconds>(
        kRenewEvery, std::chrono::seconds(flags.server_life) / kLooksPerLife);
    const auto look_every =
        std::min(renew_every, runtime::watchdog_interval().value_or(kRenewEvery));
    auto renew_at = parts.clock.steady() + renew_every;
    runtime::notify("READY=1");
    while (true) {
        const auto signal = runtime::wait_signal({SIGTERM, SIGINT, SIGHUP}, look_every);
        if (signal && *signal != SIGHUP) {
            spdlog::info("culvertd: signal {}: stopping", *signal);
            runtime::notify("STOPPING=1");
            parts.stopping = true;
            runtime::wait_signal({SIGTERM, SIGINT}, std::chrono::seconds(flags.drain));
            return;
        }
        if (signal || parts.clock.steady() >= renew_at) {
            if (auto renewed = renew(parts, flags); !renewed) {
                spdlog::error("culvertd: {}", renewed.error().message);
            }
            renew_at = parts.clock.steady() + renew_every;
            if (auto swept = parts.audited->sweep(); !swept) {
                spdlog::warn("culvertd: sweep audit: {}", swept.error().message);
            }
        }
        // reads go through a lock of the store's: a hang there ends the watchdog's patience
        if (parts.store->get(control::keys::kHomeTenant)) {
            runtime::notify("WATCHDOG=1");
        }
    }
}

Status run(const Flags& flags) {
    Parts parts;
    CULVERT_TRY_STATUS(set_up_log(flags.log_level));
    count_log(parts.log);
    CULVERT_TRY_STATUS(runtime::block_signals({SIGTERM, SIGINT, SIGHUP, SIGPIPE}));
    const auto listen = parse_address(flags.listen, "--listen");
    const auto intent = parse_address(flags.intent_listen, "--intent-listen");
    if (!listen || !intent) {
        return std::unexpected(!listen ? listen.error() : intent.error());
    }
    parts.names = certificate_names(flags, *listen, *intent);
    CULVERT_TRY_STATUS(open_state(parts, flags));
    CULVERT_TRY_STATUS(start_hub(parts, flags));
    CULVERT_TRY_STATUS(start_api(parts, flags, *listen, *intent));
    CULVERT_TRY_STATUS(serve_metrics(parts, flags));
    spdlog::info("culvertd: {} serves https://{}:{}, intent on port {}, store {}", kVersion,
                 listen->host, parts.server->port(), parts.hub->port(), flags.store);
    serve_until_signal(parts, flags);
    return {};
}

Result<int> run_command(const CLI::App& app, const Flags& flags, const RestoreFlags& restore) {
    if (app.got_subcommand("restore")) {
        return run_restore(flags.data_dir, restore);
    }
    if (app.got_subcommand("verify")) {
        return run_verify(flags.data_dir, restore.json);
    }
    CULVERT_TRY_STATUS(run(flags));
    return 0;
}

}  // namespace
}  // namespace culvert

int main(int argc, char** argv) {
    CLI::App app("culvertd: the control plane of Culvert");
    culvert::Flags flags;
    culvert::RestoreFlags restore;
    culvert::declare(app, flags);
    culvert::declare_offline(app, restore);
    CLI11_PARSE(app, argc, argv);
    const auto done = culvert::run_command(app, flags, restore);
    if (!done) {
        fmt::print(stderr, "culvertd: {}\n", done.error().message);
        return done.error().code == culvert::Code::kCorrupt ? culvert::kExitCorrupt : 1;
    }
    return *done;
}
