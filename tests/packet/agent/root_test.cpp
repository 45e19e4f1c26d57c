// SPDX-License-Identifier: Apache-2.0
// The agent as a process, between a control plane and the kernel: what it acknowledges is true in
// the kernel, what it made survives it, what it is told wrongly changes nothing.
#include "../datapath/host.hpp"
#include "control_plane.hpp"

#include "abi/limits.h"
#include "agent/identity.hpp"
#include "api/local.grpc.pb.h"
#include "datapath/netlink.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <functional>

namespace culvert::agent {
namespace {

using datapath::connect_in;
using datapath::listen_in;
using datapath::Namespace;
using namespace std::chrono_literals;

constexpr std::uint32_t kVnet = 7;
constexpr std::uint32_t kSubnet = 0x0a000000;

std::string nic_id(std::uint32_t index) {
    return "/subscriptions/S/resourceGroups/G/providers/Microsoft.Network/networkInterfaces/n" +
           std::to_string(index);
}

api::Delta delta(std::uint64_t version, bool snapshot) {
    api::Delta out;
    out.set_epoch("epoch");
    out.set_version(version);
    out.set_snapshot(snapshot);
    return out;
}

// A NIC at 10.0.0.<index>, attached here unless `attachment` is empty.
void add_nic(api::Delta& to, std::uint32_t index, const std::string& attachment) {
    auto* nic = to.add_upsert()->mutable_nic();
    nic->set_index(index);
    nic->set_generation(1);
    nic->set_id(nic_id(index));
    nic->set_vnet(kVnet);
    nic->set_address(kSubnet + index);
    nic->mutable_subnet()->set_base(kSubnet);
    nic->mutable_subnet()->set_length(24);
    nic->set_gateway(kSubnet + 1);
    nic->set_node(attachment.empty() ? 0 : 1);
    nic->set_attachment(attachment);
}

api::Delta two_nics() {
    api::Delta out = delta(1, true);
    auto* config = out.add_upsert()->mutable_config();
    config->set_node(1);
    config->set_udp_port(4789);
    config->set_nic_limit(1024);
    config->set_link_limit(1024);
    auto* network = out.add_upsert()->mutable_network();
    network->set_vnet(kVnet);
    network->add_prefixes()->set_base(kSubnet);
    network->mutable_prefixes(0)->set_length(16);
    for (const std::uint32_t index : {5u, 6u}) {
        add_nic(out, index, "attach-1");
        auto* address = out.add_upsert()->mutable_address();
        address->set_vnet(kVnet);
        address->set_address(kSubnet + index);
        address->set_kind(api::ADDRESS_NIC);
        address->set_id(index);
    }
    return out;
}

// The agent's process; ended with the object.
class Process {
  public:
    explicit Process(const std::vector<std::string>& arguments) {
        std::vector<char*> raw;
        for (const auto& argument : arguments) {
            raw.push_back(const_cast<char*>(argument.c_str()));
        }
        raw.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // also when the test dies
            ::execv(raw[0], raw.data());
            ::_exit(127);
        }
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() { end(SIGKILL); }

    // Sends the signal (0: none) and gives the exit code, -1 when a signal ended it.
    int end(int signal) {
        if (pid_ > 0) {
            if (signal != 0) {
                ::kill(pid_, signal);
            }
            int status = 0;
            ::waitpid(pid_, &status, 0);
            pid_ = 0;
            code_ = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        }
        return code_;
    }

  private:
    pid_t pid_ = 0;
    int code_ = -1;
};

template <typename F>
bool eventually(F&& holds) {
    const auto until = std::chrono::steady_clock::now() + 10s;
    while (!holds()) {
        if (std::chrono::steady_clock::now() > until) {
            return false;
        }
        std::this_thread::sleep_for(20ms);
    }
    return true;
}

class AgentTest : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        datapath::enter_own_namespaces();
        auto netlink = datapath::Netlink::open();
        ASSERT_TRUE(netlink);
        ASSERT_TRUE((*netlink)->set_up(1));  // lo
    }

    AgentTest()
        : authority_(make_certificate("authority", nullptr)),
          control_(std::make_unique<ControlPlane>(authority_)) {
        const auto own = make_certificate("one", &authority_);
        const Identity identity{.name = "one",
                                .node = 1,
                                .outer = "192.0.2.1",
                                .intent = control_->address(),
                                .control = "https://127.0.0.1",
                                .certificate_pem = own.certificate_pem,
                                .key_pem = own.key_pem,
                                .ca_pem = authority_.certificate_pem};
        EXPECT_TRUE(save_identity(data_dir(), identity));
    }
    ~AgentTest() override {
        agent_.reset();
        EXPECT_EQ(Process({CULVERT_AGENT, "purge", "--data-dir", data_dir()}).end(0), 0);
    }

    std::string data_dir() const { return (directory_.path() / "agent").string(); }

    void start() {
        agent_ = std::make_unique<Process>(std::vector<std::string>{
            CULVERT_AGENT, "--log-level", "warn", "run", "--data-dir", data_dir(), "--pin",
            (directory_.path() / "bpf").string(), "--backbone", "none", "--flows", "1024"});
    }
    // A started agent that has the two NICs in namespaces of their own.
    void start_plumbed() {
        start();
        ASSERT_TRUE(control_->next_hello());
        control_->send(two_nics());
        const auto ack = control_->wait_ack(1);
        ASSERT_TRUE(ack);
        ASSERT_EQ(ack->error(), "");
        ASSERT_TRUE(plumb(5, left_).ok());
        ASSERT_TRUE(plumb(6, right_).ok());
    }

    api::Local::Stub& local() {
        if (!local_) {
            local_ = api::Local::NewStub(grpc::CreateChannel("unix:" + data_dir() + "/agent.sock",
                                                             grpc::InsecureChannelCredentials()));
        }
        return *local_;
    }
    grpc::Status plumb(std::uint32_t index, const Namespace& where, std::uint32_t wait_ms = 0) {
        grpc::ClientContext context;
        context.set_wait_for_ready(true);
        context.set_deadline(std::chrono::system_clock::now() + 20s);
        api::PlumbRequest request;
        request.set_nic_id(nic_id(index));
        request.set_netns("/proc/" + std::to_string(::getpid()) + "/fd/" +
                          std::to_string(where.fd()));
        request.set_ifname("eth0");
        request.set_wait_ms(wait_ms);
        reply_.Clear();
        return local().Plumb(&context, request, &reply_);
    }
    static bool has_interface(const Namespace& where) {
        auto inside = datapath::Netlink::open_in(where.fd());
        return inside && (*inside)->link("eth0").has_value();
    }

    struct Connection {
        runtime::Fd client;
        runtime::Fd server;
        bool crosses() const {
            char byte = 'x';
            const timeval patience{.tv_sec = 3, .tv_usec = 0};
            ::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
            return ::send(client.get(), &byte, 1, MSG_NOSIGNAL) == 1 &&
                   ::recv(server.get(), &byte, 1, 0) == 1;
        }
    };
    Connection connect() const {
        const auto listener = listen_in(right_, 8080);
        Connection out{.client = connect_in(left_, "10.0.0.6", 8080), .server = {}};
        if (out.client) {
            out.server = runtime::Fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        }
        return out;
    }

    const Certificate authority_;
    datapath::TemporaryDirectory directory_;
    std::unique_ptr<ControlPlane> control_;
    Namespace left_;
    Namespace right_;
    std::unique_ptr<Process> agent_;
    std::unique_ptr<api::Local::Stub> local_;
    api::PlumbReply reply_;
};

TEST_F(AgentTest, WhatIsAcknowledgedCarriesTraffic) {
    start();
    const auto hello = control_->next_hello();
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->node(), "one");
    EXPECT_EQ(hello->epoch(), "");
    EXPECT_EQ(plumb(5, left_).error_code(), grpc::StatusCode::NOT_FOUND);
    control_->send(two_nics());
    ASSERT_TRUE(plumb(5, left_, 5000).ok());
    EXPECT_EQ(reply_.address(), "10.0.0.5/24");
    EXPECT_EQ(reply_.gateway(), "10.0.0.1");
    EXPECT_EQ(reply_.mac(), "02:cf:00:00:00:05");
    EXPECT_EQ(reply_.mtu(), 1450u);
    EXPECT_EQ(reply_.host_ifname(), "cv5");
    ASSERT_TRUE(plumb(6, right_).ok());
    const auto connection = connect();
    ASSERT_TRUE(connection.client);
    EXPECT_TRUE(connection.crosses());
    api::ControlMessage lease;
    lease.mutable_lease()->set_ttl_ms(300);
    control_->send(lease);
    EXPECT_TRUE(control_->wait_heartbeats(2));
}

TEST_F(AgentTest, PlumbingIsIdempotentAndANicHasOneNamespace) {
    start_plumbed();
    EXPECT_TRUE(plumb(5, left_).ok());
    EXPECT_EQ(plumb(5, right_).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_TRUE(connect().crosses());
    grpc::ClientContext context;
    api::UnplumbRequest request;
    request.set_nic_id(nic_id(5));
    api::UnplumbReply reply;
    ASSERT_TRUE(local().Unplumb(&context, request, &reply).ok());
    EXPECT_TRUE(reply.existed());
    EXPECT_FALSE(has_interface(left_));
    EXPECT_TRUE(plumb(5, left_).ok());
    EXPECT_TRUE(connect().crosses());
}

TEST_F(AgentTest, TrafficOutlivesTheAgentAndItsNextLifeTakesOver) {
    start_plumbed();
    const auto connection = connect();
    ASSERT_TRUE(connection.crosses());
    EXPECT_EQ(agent_->end(SIGKILL), -1);
    EXPECT_TRUE(connection.crosses());
    EXPECT_TRUE(connect().crosses()) << "no new connection without the agent";
    start();
    const auto hello = control_->next_hello();
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->epoch(), "epoch");
    EXPECT_EQ(hello->version(), 1u);
    EXPECT_EQ(hello->plumbed_size(), 2);
    EXPECT_TRUE(connection.crosses());
    EXPECT_TRUE(plumb(5, left_).ok());
    EXPECT_TRUE(connect().crosses());
    EXPECT_EQ(agent_->end(SIGTERM), 0);
    EXPECT_TRUE(connection.crosses());
}

TEST_F(AgentTest, ADetachedNicLosesItsInterface) {
    start_plumbed();
    auto update = delta(2, false);
    add_nic(update, 5, "");
    control_->send(update);
    ASSERT_TRUE(control_->wait_ack(2));
    EXPECT_FALSE(connect_in(left_, "10.0.0.6", 8080, 300));
    EXPECT_TRUE(eventually([&] { return !has_interface(left_); }));
    EXPECT_TRUE(has_interface(right_));
    EXPECT_EQ(plumb(5, left_).error_code(), grpc::StatusCode::NOT_FOUND);
    update = delta(3, false);
    add_nic(update, 5, "attach-2");
    control_->send(update);
    ASSERT_TRUE(control_->wait_ack(3));
    EXPECT_TRUE(plumb(5, left_).ok());
    EXPECT_TRUE(connect().crosses());
}

// The NIC of that index which comes next is asked itself, and so is the next interface of one NIC.
TEST_F(AgentTest, AVerdictIsOfOneInterfaceAndNotOfItsIndex) {
    start_plumbed();
    Namespace third;
    const auto serving = listen_in(left_, 8080);
    auto update = delta(2, false);
    auto* pool = update.add_upsert()->mutable_pool();
    pool->set_id(3);
    pool->add_members(5);
    pool->set_resource_id("/pool");
    auto* probe = pool->add_probes();
    probe->set_id(77);
    probe->set_name("web");
    probe->set_protocol(api::PROBE_TCP);
    probe->set_port(8080);
    probe->set_interval_ms(1000);
    probe->set_threshold(1000);
    control_->send(update);
    ASSERT_TRUE(control_->wait_ack(2));
    const auto backend = [&] {
        grpc::ClientContext context;
        api::BackendsReply reply;
        EXPECT_TRUE(local().Backends(&context, {}, &reply).ok());
        EXPECT_EQ(reply.error(), "");
        return reply.backends_size() == 1 ? reply.backends(0) : api::Backend();
    };
    // what it is seen as until it has been asked, which it refuses
    const auto never_up = [&](const std::string& nic) {
        bool up = false;
        EXPECT_TRUE(eventually([&] {
            const auto seen = backend();
            up = up || (seen.nic() == nic && seen.state() == "up");
            return seen.nic() == nic && seen.state() == "down" && seen.reason() == "refused";
        }));
        return !up;
    };
    ASSERT_TRUE(eventually([&] { return backend().state() == "up"; }));
    // another NIC with its index
    update = delta(3, false);
    add_nic(update, 5, "attach-2");
    auto* other = update.mutable_upsert(0)->mutable_nic();
    other->set_generation(2);
    other->set_id(nic_id(55));
    control_->send(update);
    ASSERT_TRUE(control_->wait_ack(3));
    ASSERT_TRUE(plumb(55, third).ok());
    EXPECT_TRUE(never_up(nic_id(55)));
    // and another interface of that NIC, after one that was up
    {
        const auto late = listen_in(third, 8080);
        ASSERT_TRUE(eventually([&] { return backend().state() == "up"; }));
    }
    grpc::ClientContext context;
    api::UnplumbRequest request;
    request.set_nic_id(nic_id(55));
    api::UnplumbReply reply;
    ASSERT_TRUE(local().Unplumb(&context, request, &reply).ok());
    Namespace fourth;
    ASSERT_TRUE(plumb(55, fourth).ok());
    EXPECT_TRUE(never_up(nic_id(55)));
}

TEST_F(AgentTest, WhatBreaksARuleIsRefusedAndChangesNothing) {
    start_plumbed();
    auto bad = delta(2, false);
    add_nic(bad, 5, "");
    add_nic(bad, 4096, "");  // beyond the limit
    control_->send(bad);
    const auto ack = control_->wait_ack(2);
    ASSERT_TRUE(ack);
    EXPECT_NE(ack->error().find("nic 4096"), std::string::npos) << ack->error();
    EXPECT_EQ(ack->version(), 1u);
    auto hello = control_->next_hello();
    ASSERT_TRUE(hello) << "no new stream after a refusal";
    EXPECT_EQ(hello->version(), 1u);
    control_->send(api::ControlMessage());  // of no kind
    hello = control_->next_hello();
    ASSERT_TRUE(hello) << "no new stream after garbage";
    EXPECT_TRUE(has_interface(left_));
    EXPECT_TRUE(connect().crosses());
}

// One owner's services fill the table of rules; another's interfaces come after them.
TEST_F(AgentTest, WhatDoesNotFitIsLeftOutAndHoldsUpNobody) {
    constexpr std::uint32_t kServices = CV_RULES_DEFAULT / 1000 + 1;
    const auto fill = [](api::Delta& out, std::uint32_t services) {
        for (std::uint32_t id = 1; id <= services; ++id) {
            auto* service = out.add_upsert()->mutable_service();
            service->set_id(id);
            service->set_provider_vnet(kVnet);
            service->add_nat(kSubnet + 200);
            for (std::uint32_t port = 1; port <= 1000; ++port) {
                auto* rule = service->add_rules();
                rule->set_protocol(IPPROTO_TCP);
                rule->set_port(port);
                rule->set_pool(1);
                rule->set_backend_port(port);
                rule->set_affinity(5);
                rule->set_idle_s(240);
            }
        }
    };
    start();
    ASSERT_TRUE(control_->next_hello());
    auto abundance = two_nics();
    fill(abundance, kServices);
    control_->send(abundance);
    auto ack = control_->wait_ack(1);
    ASSERT_TRUE(ack);
    EXPECT_NE(ack->error().find("no room: apply service"), std::string::npos) << ack->error();
    EXPECT_EQ(ack->version(), 0u);
    ASSERT_TRUE(plumb(5, left_, 5000).ok());
    ASSERT_TRUE(plumb(6, right_).ok());
    EXPECT_TRUE(connect().crosses());
    // nothing of what was left out stays behind: as many as fit, fit
    ASSERT_TRUE(control_->next_hello());
    auto fewer = two_nics();
    fill(fewer, kServices - 1);
    control_->send(fewer);
    ack = control_->wait_ack(1);
    ASSERT_TRUE(ack);
    EXPECT_EQ(ack->error(), "");
    EXPECT_TRUE(connect().crosses());
}

TEST_F(AgentTest, AStreamThatEndsIsOpenedAgain) {
    start_plumbed();
    control_->hang_up();
    const auto hello = control_->next_hello();
    ASSERT_TRUE(hello);
    EXPECT_EQ(hello->version(), 1u);
    auto update = delta(2, false);
    add_nic(update, 9, "");
    control_->send(update);
    EXPECT_TRUE(control_->wait_ack(2));
}

TEST_F(AgentTest, PurgeLeavesNothing) {
    start_plumbed();
    EXPECT_EQ(Process({CULVERT_AGENT, "purge", "--data-dir", data_dir()}).end(0), 1)
        << "purged under a running agent";
    EXPECT_EQ(agent_->end(SIGTERM), 0);
    EXPECT_EQ(Process({CULVERT_AGENT, "purge", "--data-dir", data_dir()}).end(0), 0);
    EXPECT_FALSE(has_interface(left_));
    EXPECT_FALSE(has_interface(right_));
    EXPECT_FALSE(std::filesystem::exists(directory_.path() / "bpf"));
    EXPECT_TRUE(std::filesystem::exists(data_dir() + "/node.json"));
}

}  // namespace
}  // namespace culvert::agent
