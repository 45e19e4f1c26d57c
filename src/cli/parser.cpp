// SPDX-License-Identifier: Apache-2.0
#include "cli/parser.hpp"

#include "base/probe_limits.hpp"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

namespace culvert::cli {
namespace {

constexpr const char* kAbout =
    "Private Link that anyone can run: the commands that `az` has no word for.\n"
    "Resources (networks, load balancers, services, endpoints) are made with `az`; `culvert "
    "az-setup` shows how.";

constexpr const char* kFooter =
    "Credentials: CULVERT_CONTROL, CULVERT_CA, CULVERT_CLIENT_ID, CULVERT_CLIENT_SECRET and "
    "CULVERT_TENANT;\n"
    "else what `culvert login` stored; else those that `culvert up` made on this machine.\n"
    "Exit status: 0 done, 1 failed, 2 wrong usage, 3 what was named does not exist.";

void add_settings(CLI::App& app, Parsed& p) {
    app.add_option_function<std::string>(
           "-o,--output", [&p](const std::string& format) { p.settings.json = format == "json"; },
           "table for people, json for programs")
        ->check(CLI::IsMember({"json", "table"}))
        ->type_name("json|table");
    app.add_option("--data-dir", p.settings.data_dir,
                   "where this machine's installation keeps its files")
        ->type_name("DIR")
        ->default_str(kDataDir);
    app.add_option("--control", p.settings.control, "the control plane: https://HOST:PORT")
        ->type_name("URL");
    app.add_option("--ca", p.settings.ca_file, "trust this certificate authority (PEM)")
        ->type_name("FILE");
}

CLI::App& command(CLI::App& app, Parsed& p, const std::string& name, const std::string& about,
                  std::function<Result<int>()> run) {
    auto& sub = *app.add_subcommand(name, about);
    sub.fallthrough();
    sub.callback([&p, run = std::move(run)] { p.command = run; });
    return sub;
}

// What `up` hands to the agent as it is. The agent's own help says more.
void add_agent_options(CLI::App& up, UpOptions& options) {
    using std::chrono::milliseconds;
    static constexpr auto kShortest = milliseconds(limits::kShortestEchoInterval).count();
    static constexpr auto kLongest = milliseconds(limits::kLongestEchoInterval).count();
    static constexpr std::int64_t kDay = 86400;
    static constexpr std::int64_t kShortestProbe = limits::kShortestProbeInterval.count();
    const struct {
        const char* name;
        const char* help;
        std::int64_t least;
        std::int64_t most;
        bool or_none;
    } all[] = {
        {"--liveness-interval-ms", "ask each other node so often whether it is there; 0: never",
         kShortest, kLongest, true},
        {"--liveness-misses", "a node that is silent for so many intervals is lost", 1,
         limits::kMostEchoMisses, false},
        {"--liveness-reset-s",
         "reset connections to a node that is lost for so many seconds; 0: never", 0, kDay, false},
        {"--flow-quota", "percent of the flow table that one interface or link may hold", 1, 100,
         false},
        {"--opening-quota", "the same for connections whose handshake is not over", 1, 100, false},
        {"--probe-interval-ms",
         "probe backends so often, whatever their probes say; 0: as they say", kShortestProbe,
         60000, true},
        {"--nat-quota", "percent of a backend's NAT ports that one link may hold", 1, 100, false},
        {"--nat-drain-s", "connections go on so many seconds with a NAT address that was removed",
         1, 7 * kDay, false},
    };
    for (const auto& each : all) {
        auto* option = up.add_option(each.name, options.agent[each.name], each.help);
        CLI::Validator valid = CLI::Range(each.least, each.most);
        if (each.or_none) {
            valid = valid | CLI::IsMember({std::string("0")});
        }
        option->type_name("N")->check(valid);
    }
}

void add_machine_commands(CLI::App& app, Parsed& p) {
    auto& up = command(app, p, "up",
                       "Start Culvert on this machine: control plane, embedded store and agent",
                       [&p] { return run_up(p.settings, p.up); });
    up.add_flag("-d,--detach", p.up.detach,
                "return when everything is ready; logs go to the data directory");
    up.add_option("--listen", p.up.listen, "address of the API")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    up.add_option("--intent-listen", p.up.intent_listen, "address that agents connect to")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    up.add_option("--advertise", p.up.advertise,
                  "the name or address that other nodes reach this one by")
        ->type_name("HOST");
    up.add_option("--region", p.up.region, "what resources show as their location")
        ->type_name("NAME");
    up.add_option("--node", p.up.node, "this node's name (default: the host's)")->type_name("NAME");
    up.add_option("--backbone", p.up.backbone,
                  "interface that carries traffic between nodes, or none")
        ->type_name("IFNAME|none")
        ->capture_default_str();
    up.add_option("--outer", p.up.outer,
                  "this node's address on the backbone (default: the interface's first)")
        ->type_name("ADDRESS");
    up.add_option("--pin", p.up.pin,
                  "where programs and maps are pinned (default: /sys/fs/bpf/culvert, or pin below "
                  "another --data-dir)")
        ->type_name("DIR");
    up.add_flag("--force-clsact", p.up.force_clsact,
                "attach programs the way kernels before 6.6 need");
    up.add_option("--flows", p.up.flows,
                  "most entries of the flow table; a connection takes one or two")
        ->type_name("N")
        ->check(CLI::Range(std::uint64_t{1024}, std::uint64_t{1} << 26U));
    up.add_option("--metrics", p.up.metrics, "serve the agent's Prometheus metrics here")
        ->type_name("ADDRESS:PORT");
    add_agent_options(up, p.up);
    up.add_option("--log-level", p.up.log_level, "of both processes")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));

    auto& down =
        command(app, p, "down", "Stop what `up` started; attached workloads go on carrying traffic",
                [&p] { return run_down(p.settings, p.down); });
    down.add_flag("--purge", p.down.purge, "also remove interfaces, kernel programs and all data");

    command(app, p, "status", "Show the control plane, this machine's agent and its interfaces",
            [&p] { return run_status(p.settings); });

    auto& doctor = command(app, p, "doctor",
                           "Check kernel, backbone, others on the host, ports, limits, clocks, "
                           "certificates and room; say how to mend them",
                           [&p] { return run_doctor(p.settings, p.doctor); });
    doctor.add_option("--backbone", p.doctor.backbone, "the interface to check, or none")
        ->type_name("IFNAME|none")
        ->capture_default_str();
    doctor.add_option("--udp-port", p.doctor.udp_port, "of VXLAN on the backbone")
        ->type_name("PORT")
        ->capture_default_str();
}

void add_attach_commands(CLI::App& app, Parsed& p) {
    auto& attach =
        command(app, p, "attach",
                "Give a workload its interface: in a namespace, or a TAP of a virtual machine",
                [&p] { return run_attach(p.settings, p.attach); });
    attach.footer(
        "A virtual machine asks by DHCP for its address. `--tap` prints the options with which "
        "QEMU opens the interface; it stays when the machine ends, and goes with `culvert "
        "detach`.");
    attach.add_option("--nic", p.attach.nic, "resource id of the network interface")
        ->required()
        ->type_name("ID");
    auto* netns = attach
                      .add_option("--netns", p.attach.netns,
                                  "namespace of `ip netns`, or the path of a namespace file")
                      ->type_name("NAME|PATH");
    auto* tap = attach
                    .add_option_function<std::string>(
                        "--tap",
                        [&p](const std::string& name) {
                            p.attach.tap = true;
                            p.attach.tap_name = name;
                        },
                        "a TAP interface of this machine, of that name")
                    ->expected(0, 1)
                    ->excludes(netns)
                    ->type_name("[NAME]");
    attach
        .add_option("--tap-user", p.attach.tap_user, "who besides root may open the TAP interface")
        ->needs(tap)
        ->type_name("USER|ID");
    attach.parse_complete_callback([&p] {
        if (!p.attach.tap && p.attach.netns.empty()) {
            throw CLI::RequiredError("--netns or --tap");
        }
    });
    attach.add_option("--ifname", p.attach.ifname, "name inside the namespace")
        ->type_name("NAME")
        ->capture_default_str();
    attach.add_option("--node", p.attach.node, "attach on this node (default: this machine's)")
        ->type_name("NAME");

    auto& detach = command(app, p, "detach", "Take a workload's interface away again",
                           [&p] { return run_detach(p.settings, p.detach); });
    detach.add_option("--nic", p.detach.nic, "resource id of the network interface")
        ->required()
        ->type_name("ID");
}

void add_workload_commands(CLI::App& app, Parsed& p) {
    add_attach_commands(app, p);
    auto& migrate =
        command(app, p, "migrate", "Move a NIC to this machine's node, with its connections",
                [&p] { return run_migrate(p.settings, p.migrate); });
    migrate.footer(
        "Run it where the workload will be: the interface is made here. An interface of that name "
        "and with the NIC's own MAC address steps aside when the connections have come. A move "
        "that fails is called off: the NIC stays where it was. Run again it goes on.");
    migrate.add_option("--nic", p.migrate.nic, "resource id of the network interface")
        ->required()
        ->type_name("ID");
    migrate.add_option("--to", p.migrate.to, "the node it moves to (default: this machine's)")
        ->type_name("NODE");
    migrate
        .add_option("--netns", p.migrate.netns,
                    "namespace of `ip netns`, or the path of a namespace file")
        ->required()
        ->type_name("NAME|PATH");
    migrate.add_option("--ifname", p.migrate.ifname, "name inside the namespace")
        ->type_name("NAME")
        ->capture_default_str();

    const auto counters = [&p](CLI::App& sub) {
        sub.add_flag("-w,--watch", p.counters.watch, "again and again, with what moved since");
        sub.add_flag("-a,--all", p.counters.all, "zeros too");
        sub.add_option("--interval", p.counters.interval, "seconds between readings")
            ->type_name("SECONDS")
            ->check(CLI::Range(0.1, 3600.0))
            ->capture_default_str();
    };
    counters(command(app, p, "drops", "Show what this node dropped, by reason",
                     [&p] { return run_drops(p.settings, p.counters); }));
    command(app, p, "backends", "Show the backends that this node knows, and their health",
            [&p] { return run_backends(p.settings); });
    counters(command(app, p, "counters", "Show what this node carried, by path",
                     [&p] { return run_counters(p.settings, p.counters); }));
}

void add_identity_commands(CLI::App& app, Parsed& p) {
    auto& az = command(app, p, "az-setup",
                       "Print, or run, the commands that register this installation in `az`",
                       [&p] { return run_az_setup(p.settings, p.az_setup); });
    az.add_flag("--apply", p.az_setup.apply, "run them");
    az.add_option("--az", p.az_setup.az, "the az to run")
        ->type_name("PROGRAM")
        ->capture_default_str();
    az.add_option("--cloud", p.az_setup.cloud, "name of the cloud in az")
        ->type_name("NAME")
        ->capture_default_str();
    az.add_option("--ca-out", p.az_setup.ca_out, "file for the certificate authority")
        ->type_name("FILE");

    auto& login = command(app, p, "login", "Sign in and keep the credentials for later commands",
                          [&p] { return run_login(p.settings, p.login); });
    login.add_flag("--service-principal", p.login.service_principal,
                   "sign in as a service principal");
    login.add_option("-u,--username", p.login.user, "user name, or client id of the principal")
        ->required()
        ->type_name("NAME");
    login
        .add_option("-p,--password", p.login.password,
                    "password or client secret; absent or -: asked for")
        ->type_name("SECRET");
    login.add_option("-t,--tenant", p.login.tenant, "tenant of the principal")->type_name("ID");
    command(app, p, "logout", "Forget what login kept", [&p] { return run_logout(p.settings); });

    auto& principal = *app.add_subcommand("principal", "Service principals");
    principal.require_subcommand(1)->fallthrough();
    auto& create =
        command(principal, p, "create", "Make a service principal; prints its secret once",
                [&p] { return run_principal_create(p.settings, p.principal); });
    create.add_option("--name", p.principal.name, "display name")->required()->type_name("NAME");
    create
        .add_option("--role", p.principal.role,
                    "role to assign: Owner, Contributor, Reader, Network Contributor")
        ->type_name("ROLE");
    create.add_option("--scope", p.principal.scope, "where the role applies")->type_name("ID");

    auto& subscription = *app.add_subcommand("subscription", "Subscriptions");
    subscription.require_subcommand(1)->fallthrough();
    auto& make = command(subscription, p, "create", "Make a subscription",
                         [&p] { return run_subscription_create(p.settings, p.subscription); });
    make.add_option("--name", p.subscription.name, "display name")->required()->type_name("NAME");
    make.add_option("--tenant", p.subscription.tenant, "owning tenant (default: the caller's)")
        ->type_name("ID");
}

void add_node_commands(CLI::App& app, Parsed& p) {
    auto& node = *app.add_subcommand("node", "The hosts that run an agent");
    node.require_subcommand(1)->fallthrough();
    auto& token = command(node, p, "token", "Make a one-time token for `culvert-agent join`",
                          [&p] { return run_node_token(p.settings, p.node_token); });
    token.add_option("--node", p.node_token.node, "valid for this name only")->type_name("NAME");
    token
        .add_option("--tenants", p.node_token.tenants,
                    "the only tenants that the node will serve (default: all)")
        ->type_name("ID,...")
        ->delimiter(',');
    command(node, p, "list", "List nodes", [&p] { return run_node_list(p.settings); });
    auto& drain =
        command(node, p, "drain", "Give its backends no new connections; established ones go on",
                [&p] { return run_node_drain(p.settings, p.node_drain); });
    drain.add_option("NAME", p.node_drain.name, "the node")->required();
    drain.add_flag("--wait", p.node_drain.wait, "return when no connection is left there");
    drain.add_option("--timeout", p.node_drain.timeout, "how long to wait")
        ->type_name("SECONDS")
        ->check(CLI::Range(1.0, 86400.0))
        ->capture_default_str();
    auto& undrain = command(node, p, "undrain", "Let a drained node take connections again",
                            [&p] { return run_node_undrain(p.settings, p.node_name); });
    undrain.add_option("NAME", p.node_name, "the node")->required();
    auto& remove = command(node, p, "delete", "Remove a node that does not come back",
                           [&p] { return run_node_delete(p.settings, p.node_name, p.node_force); });
    remove.add_option("NAME", p.node_name, "the node")->required();
    remove.add_flag("--force", p.node_force, "detach what is attached there, of every tenant");
    const auto tenant = [&p](CLI::App& sub) {
        sub.add_option("--node", p.node_tenant.node, "the node")->required()->type_name("NAME");
        sub.add_option("--tenant", p.node_tenant.tenant, "id of the tenant, or all")
            ->required()
            ->type_name("ID|all");
    };
    tenant(command(node, p, "allow",
                   "Let a tenant attach on a node; from the first on only tenants that are named",
                   [&p] { return run_node_allow(p.settings, p.node_tenant); }));
    tenant(command(node, p, "deny", "Let a tenant attach nothing more on a node",
                   [&p] { return run_node_deny(p.settings, p.node_tenant); }));
}

void add_store_commands(CLI::App& app, Parsed& p) {
    auto& backup =
        command(app, p, "backup", "Copy the store and the keys into one file, while all goes on",
                [&p] { return run_backup(p.settings, p.backup); });
    backup.add_option("--to", p.backup.to, "the file; mode 0600, it holds secrets")
        ->required()
        ->type_name("FILE");
    backup.add_flag("--force", p.backup.force, "replace a file that is there");

    auto& restore = command(app, p, "restore",
                            "Make a control plane's data from a backup; culvertd must be stopped",
                            [&p] { return run_restore(p.settings, p.restore); });
    restore.add_option("--from", p.restore.from, "the backup")->required()->type_name("FILE");
    restore
        .add_option("--data", p.restore.data, "culvertd's directory (default: DATA-DIR/control)")
        ->type_name("DIR");
    auto* revision =
        restore.add_option("--to-revision", p.restore.to_revision,
                           "the state as of this revision (default: the backup's newest)");
    revision->type_name("N");
    restore.add_option("--to-time", p.restore.to_time, "the state as of this time (UTC)")
        ->type_name("2026-11-26T10:00:00Z")
        ->excludes(revision);
    restore.add_flag("--force", p.restore.force,
                     "replace a store that is there; it is kept beside");

    auto& store = *app.add_subcommand("store", "The control plane's store");
    store.require_subcommand(1)->fallthrough();
    auto& verify = command(store, p, "verify",
                           "Walk the store: orphans, double allocations, references to nothing",
                           [&p] { return run_store_verify(p.settings, p.verify); });
    verify.add_option("--data", p.verify.data, "a stopped culvertd's directory (default: ask it)")
        ->type_name("DIR");
}

void add_metrics_command(CLI::App& app, Parsed& p) {
    auto& metrics = command(app, p, "metrics",
                            "Show what a private endpoint, private link service or load balancer "
                            "carried",
                            [&p] { return run_metrics(p.settings, p.metrics); });
    metrics.add_option("resource", p.metrics.resource, "id of the resource")
        ->type_name("RESOURCE")
        ->required();
    metrics.add_option("--metric", p.metrics.metric, "these alone (default: all that it has)")
        ->type_name("NAME,...");
    metrics.add_option("--timespan", p.metrics.timespan, "the last so long, or from when to when")
        ->type_name("PT1H|START/END")
        ->capture_default_str();
    metrics
        .add_option("--interval", p.metrics.interval, "length of a row, such as PT5M; FULL: one")
        ->type_name("PT1M|...|P1D|FULL")
        ->capture_default_str();
    metrics.add_option("--filter", p.metrics.filter, "a dimension's values, * for each")
        ->type_name("NAME eq 'VALUE'");
}

void add_audit_commands(CLI::App& app, Parsed& p) {
    auto& audit = *app.add_subcommand("audit", "Who changed what");
    audit.require_subcommand(1)->fallthrough();
    auto& list = command(audit, p, "list", "List what was written, oldest first",
                         [&p] { return run_audit_list(p.settings, p.audit); });
    list.add_option("--resource", p.audit.resource, "of this resource only")->type_name("ID");
    list.add_option("--principal", p.audit.principal, "by this principal only")
        ->type_name("ID|NAME");
    list.add_option("--since", p.audit.since, "from then on (default: the last 24 hours)")
        ->type_name("TIME|12h|7d");
    list.add_option("--limit", p.audit.limit, "at most so many")
        ->type_name("N")
        ->check(CLI::Range(1, 100000))
        ->capture_default_str();
}

void add_agent_commands(CLI::App& app, Parsed& p) {
    auto& agent = *app.add_subcommand("agent", "This machine's agent");
    agent.require_subcommand(1)->fallthrough();
    auto& upgrade = command(
        agent, p, "upgrade",
        "Let the running agent become another program in place: connections stay, also when the "
        "layout of the kernel maps changes, up or down",
        [&p] { return run_agent_upgrade(p.settings, p.upgrade); });
    upgrade
        .add_option("--binary", p.upgrade.binary,
                    "the new program (default: culvert-agent beside this one)")
        ->type_name("PATH");
    upgrade.add_flag("--dry-run", p.upgrade.dry_run,
                     "only examine it: does it run, does the kernel take its programs");
    upgrade.add_flag("--force", p.upgrade.force,
                     "also while an older layout still serves flows, which end by it");
}

void add_operation_commands(CLI::App& app, Parsed& p) {
    auto& level = command(app, p, "log-level",
                          "Show or change how much the running processes log, until they end",
                          [&p] { return run_log_level(p.settings, p.log_level); });
    level.add_option("LEVEL", p.log_level.level, "trace, debug, info, warn, error or off")
        ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
    level.add_option("--component", p.log_level.component, "this process alone")
        ->check(CLI::IsMember({"culvertd", "culvert-agent"}))
        ->type_name("culvertd|culvert-agent");
}

void add_authority_commands(CLI::App& app, Parsed& p) {
    auto& ca = *app.add_subcommand("ca", "The certificate authority of this installation");
    ca.require_subcommand(1)->fallthrough();
    command(ca, p, "status", "Show the authorities, and what each node trusts and has",
            [&p] { return run_ca_status(p.settings); });
    auto& rotate = command(ca, p, "rotate",
                           "Replace the authority, without a dropped stream: trust the new one "
                           "everywhere, issue from it, then forget the old one",
                           [&p] { return run_ca_rotate(p.settings, p.ca); });
    rotate.add_option("--wait", p.ca.wait, "how long to wait for the nodes at each step")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str();
    auto* force = rotate.add_flag("--force", p.ca.force,
                                  "then go on without the nodes that are not ready: they are cut "
                                  "off and have to join again");
    rotate.add_flag("--abort", p.ca.abort, "forget the new authority, while it does not sign yet")
        ->excludes(force);
}

void add_plain_commands(CLI::App& app, Parsed& p) {
    auto& rest = command(app, p, "rest", "One authenticated call of the API",
                         [&p] { return run_rest(p.settings, p.rest); });
    rest.add_option("METHOD", p.rest.method, "GET, PUT, POST, PATCH, DELETE or HEAD")
        ->required()
        ->check(CLI::IsMember({"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"}));
    rest.add_option("PATH", p.rest.target,
                    "path and query, or an absolute URL of this installation")
        ->required();
    rest.add_option("--body", p.rest.body, "JSON, @FILE, or - for standard input")
        ->type_name("JSON|@FILE|-");
    rest.add_option("--api-version", p.rest.api_version, "added to the query")->type_name("DATE");
    rest.add_flag("--status", p.rest.status_line, "print the HTTP status first");

    auto& completion = command(app, p, "completion",
                               "Print a completion script: source <(culvert completion bash)",
                               [&p, &app]() -> Result<int> {
                                   auto script = completion_script(app, p.shell);
                                   if (!script) {
                                       return std::unexpected(script.error());
                                   }
                                   fmt::print("{}", *script);
                                   return 0;
                               });
    completion.add_option("SHELL", p.shell, "bash or zsh")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh"}));
    command(app, p, "man", "Print the manual page: culvert man | man -l -",
            [&app]() -> Result<int> {
                fmt::print("{}", manual_page(app));
                return 0;
            });
}

}  // namespace

std::shared_ptr<CLI::App> make_parser(Parsed& into) {
    auto app = std::make_shared<CLI::App>(kAbout, "culvert");
    app->footer(kFooter);
    app->require_subcommand(1);
    app->set_version_flag("--version", std::string("culvert 0.1.0"));
    app->get_formatter()->column_width(36);
    add_settings(*app, into);
    add_machine_commands(*app, into);
    add_workload_commands(*app, into);
    add_identity_commands(*app, into);
    add_node_commands(*app, into);
    add_store_commands(*app, into);
    add_audit_commands(*app, into);
    add_metrics_command(*app, into);
    add_agent_commands(*app, into);
    add_operation_commands(*app, into);
    add_authority_commands(*app, into);
    add_plain_commands(*app, into);
    return app;
}

}  // namespace culvert::cli
